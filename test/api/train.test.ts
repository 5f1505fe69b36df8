/** Training by a program: what `dawngrad run` makes of the same config, with its numbers told, and stopped and gone on with. */
import { afterAll, expect, test } from "bun:test";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { DawngradError, type Evaluation, open, type TrainConfig, type TrainStep, train } from "dawngrad";
import { ownCacheFolder } from "../support/cache";
import { temporaryFolder } from "../support/folder";

ownCacheFolder();
const folder = temporaryFolder();
afterAll(() => folder[Symbol.dispose]());
const at = (...names: string[]) => join(folder.path, ...names);

const stage = {
  validation: 0.1,
  batch: { rows: 2, tokens: 16 },
  evaluate: { every: 4, batches: 2 },
  save: { every: 3, keep: 2 },
  logEvery: 1,
} as const;

const optims = [
  { steps: 8, lr: 5e-3, warmup: 2 },
  { steps: 5, lr: 1e-3, warmup: 0 },
] as const;

const config: TrainConfig = {
  name: "small",
  model: { layers: 1, heads: 1, width: 16, context: 32 },
  tokenizer: { kind: "character" },
  stage: [
    { ...stage, kind: "pretrain", data: at("text.txt"), optim: optims[0] },
    { ...stage, kind: "pretrain", name: "more", data: at("text.txt"), optim: optims[1] },
  ],
};
writeFileSync(at("text.txt"), "Pip lives by the mill, and Ada by the hill. ".repeat(60));

const on = { device: "cpu", threads: 1 } as const;
const lines = (run: string, stage: string): Record<string, number>[] =>
  readFileSync(at(run, stage, "metrics.jsonl"), "utf8")
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));
const losses = (run: string, stage: string) => lines(run, stage).map(({ tokens_per_second: _, ...others }) => others);
const weights = (run: string) => readFileSync(at(run, "more", "step-000005", "model.safetensors"));

test("a config makes what the command line makes of it, and tells its numbers as metrics.jsonl has them", async () => {
  const steps: TrainStep[] = [];
  const evaluations: Evaluation[] = [];
  const notes: string[] = [];
  const result = await train(config, {
    ...on,
    out: at("whole"),
    onStep: (step) => steps.push(step),
    onEvaluation: (evaluation) => evaluations.push(evaluation),
    onNote: (line) => notes.push(line),
  });
  const stages = ["pretrain", "more"].map((name) => ({
    name,
    kind: "pretrain",
    folder: at("whole", name),
    finished: true,
  }));
  expect(result).toEqual({ outcome: "finished", folder: at("whole"), stages });
  const told = [...steps.map(({ stage, step, metrics }) => ({ stage, step, ...metrics }))];
  const written = ["pretrain", "more"].flatMap((stage) =>
    lines("whole", stage)
      .filter(({ loss }) => loss !== undefined)
      .map((line) => ({ stage, ...line })),
  );
  expect(told).toHaveLength(13);
  expect(told).toEqual(written as unknown as typeof told);
  expect(evaluations.map(({ stage, step, steps }) => [stage, step, steps])).toEqual([
    ["pretrain", 0, 8],
    ["pretrain", 4, 8],
    ["pretrain", 8, 8],
    ["more", 0, 5],
    ["more", 4, 5],
    ["more", 5, 5],
  ]);
  expect(evaluations.map(({ best }) => best).slice(0, 2)).toEqual([false, true]);
  expect(notes.some((note) => note.startsWith("pretrain: finished after step 8"))).toBe(true);
  using model = await open(result.folder, on);
  expect(model.context).toBe(32);

  const toml = `name = "small"
model = { layers = 1, heads = 1, width = 16, context = 32 }
tokenizer = { kind = "character" }
${config.stage
  .map(({ name = "pretrain" }, i) => {
    const { steps, lr, warmup } = optims[i]!;
    return `[[stage]]
kind = "pretrain"
name = "${name}"
data = "text.txt"
validation = 0.1
batch = { rows = 2, tokens = 16 }
evaluate = { every = 4, batches = 2 }
save = { every = 3, keep = 2 }
logEvery = 1
optim = { steps = ${steps}, lr = ${lr}, warmup = ${warmup} }`;
  })
  .join("\n")}
`;
  writeFileSync(at("small.toml"), toml);
  const words = ["run", at("small.toml"), "--out", at("command"), "--device", "cpu", "--threads", "1"];
  const { exitCode, stderr } = Bun.spawnSync([process.execPath, "src/main.ts", ...words]);
  if (exitCode !== 0) throw new Error(stderr.toString());
  expect(weights("command").equals(weights("whole"))).toBe(true);
  // The file itself is taken too: all is finished, and nothing is told.
  const again = await train(at("small.toml"), { ...on, out: at("command"), onStep: (step) => steps.push(step) });
  expect(again).toEqual({
    outcome: "finished",
    folder: at("command"),
    stages: stages.map((one) => ({ ...one, folder: at("command", one.name) })),
  });
  expect(steps).toHaveLength(13);
});

test("stopped in either stage and called again, it makes the same, bit for bit", async () => {
  const outcomes: string[] = [];
  const finished: boolean[][] = [];
  const stops = ["pretrain 3", "pretrain 6", "more 2"];
  for (const stop of [...stops, "never"]) {
    const aborting = new AbortController();
    const { outcome, stages } = await train(config, {
      ...on,
      out: at("parts"),
      signal: aborting.signal,
      onStep: ({ stage, step }) => stop === `${stage} ${step}` && aborting.abort(),
    });
    outcomes.push(outcome);
    finished.push(stages.map(({ finished }) => finished));
  }
  expect(outcomes).toEqual(["interrupted", "interrupted", "interrupted", "finished"]);
  expect(finished).toEqual([
    [false, false],
    [false, false],
    [true, false],
    [true, true],
  ]);
  for (const stage of ["pretrain", "more"]) expect(losses("parts", stage)).toEqual(losses("whole", stage));
  expect(weights("parts").equals(weights("whole"))).toBe(true);
});

test("a signal that is aborted already leaves everything as it is", async () => {
  const result = await train(config, { ...on, out: at("none"), signal: AbortSignal.abort() });
  expect(result.outcome).toBe("interrupted");
  expect(result.stages.map(({ finished }) => finished)).toEqual([false, false]);
  expect(existsSync(at("none"))).toBe(false);
});

test("what a callback throws ends it, and the next call goes on", async () => {
  const failing = train(config, {
    ...on,
    out: at("thrown"),
    onStep({ step }) {
      if (step === 5) throw new RangeError("enough");
    },
  });
  await expect(failing).rejects.toThrow(new RangeError("enough"));
  const steps: number[] = [];
  await train(config, { ...on, out: at("thrown"), only: ["pretrain"], onStep: ({ step }) => steps.push(step) });
  expect(steps).toEqual([5, 6, 7, 8]);
  expect(existsSync(at("thrown", "more"))).toBe(false);
});

async function mistake(...given: Parameters<typeof train>): Promise<DawngradError> {
  const error = await train(...given).catch((error: unknown) => error);
  if (error instanceof DawngradError) return error;
  throw new Error(`no mistake was told: ${error}`);
}

test("two at once in one folder: the second is refused", async () => {
  const first = train(config, { ...on, out: at("shared") });
  const { message } = await mistake(config, { ...on, out: at("shared") });
  expect(message).toContain(at("shared"));
  expect((await first).outcome).toBe("finished");
});

const misspelt = { ...optims[0], stepz: 3 };

test.each<[string, string, TrainConfig | string, object]>([
  [
    "stage[0].optim.stepz: unknown key",
    "docs/config.md lists every key",
    { ...config, stage: [{ ...stage, kind: "pretrain", data: at("text.txt"), optim: misspelt }] },
    {},
  ],
  ["stage: Too small", "docs/config.md lists every key", { stage: [] }, {}],
  ["from and only exclude each other", "docs/api.md lists the options", config, { from: "more", only: ["more"] }],
  ["onstep: unknown key; did you mean onStep?", "docs/api.md lists the options", config, { onstep() {} }],
  ["onStep: expected a function", "docs/api.md lists the options", config, { onStep: 3 }],
  ["there is no stage sft", "there are pretrain, more", config, { only: ["sft"] }],
  ["the config nowhere.toml", "inside the program", "nowhere.toml", {}],
])("a mistake is told in a sentence: %s", async (sentence, hint, given, options) => {
  const error = await mistake(given, { ...on, out: at("wrong"), ...options });
  expect(error.message).toStartWith(sentence);
  expect(error.hint).toStartWith(hint);
  expect(existsSync(at("wrong"))).toBe(false);
});
