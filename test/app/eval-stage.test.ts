/** A stage that measures: its results, what is measured again and what is not, and that no run and no stage takes it for a model. */
import { describe, expect, test } from "bun:test";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { checkConfig, readConfigFile } from "../../src/app/config-file";
import { graphOf, resultOf } from "../../src/app/graph";
import { modelDirectory } from "../../src/app/model";
import { type Choice, runPipeline } from "../../src/app/pipeline";
import { planOf } from "../../src/app/plan";
import { messageOf } from "../../src/errors";
import { silent } from "../support/console";
import { device } from "../support/device";
import { temporaryFolder } from "../support/folder";

interface Sitting {
  readonly evals?: readonly object[];
  readonly check?: object;
  readonly rate?: number;
  readonly choice?: Choice;
  /** Ctrl-C as soon as a note has this in it. */
  readonly stopAt?: string;
}

const text = (word: string) => `what is it? it is a ${word} 0123456. `.repeat(60);

function begun() {
  const folder = temporaryFolder();
  writeFileSync(join(folder.path, "text.txt"), text("number"));
  writeFileSync(join(folder.path, "held.txt"), text("number").slice(0, 200));
  const record = (i: number) => JSON.stringify({ instruction: `what is ${i % 7}`, output: `it is ${i % 5}` });
  writeFileSync(join(folder.path, "a.jsonl"), Array.from({ length: 30 }, (_, i) => `${record(i)}\n`).join(""));
  return { ...folder, run: join(folder.path, "run"), [Symbol.dispose]: () => folder[Symbol.dispose]() };
}

/** pretrain, a measurement of it, sft, and a measurement of both. */
function configIn(folder: string, { evals, check = {}, rate = 1e-3 }: Sitting = {}) {
  const at = (name: string) => join(folder, name);
  const shape = { evaluate: { every: 4, batches: 2 }, save: { every: 2 } };
  return checkConfig({
    name: "measured",
    model: { layers: 1, heads: 1, width: 16, context: 128 },
    tokenizer: { kind: "bpe", size: 260 },
    stage: [
      {
        kind: "pretrain",
        data: at("text.txt"),
        ...shape,
        batch: { rows: 4, tokens: 24 },
        optim: { steps: 4, lr: 3e-3 },
      },
      {
        kind: "eval",
        evals: evals ?? [
          { kind: "perplexity", data: at("held.txt"), context: 16 },
          { kind: "answers", data: at("a.jsonl"), template: "instruction", limit: 4, maxTokens: 4 },
        ],
        ...check,
      },
      {
        kind: "sft",
        data: at("a.jsonl"),
        template: "instruction",
        ...shape,
        batch: { rows: 4, tokens: 128 },
        optim: { steps: 4, lr: rate },
        lora: { rank: 2 },
      },
      {
        kind: "eval",
        name: "both",
        models: ["pretrain", "sft"],
        evals: [{ kind: "perplexity", data: at("held.txt"), context: 16 }],
      },
    ],
  });
}

async function sitting(folder: string, how: Sitting = {}) {
  const notes: string[] = [];
  const controller = new AbortController();
  const note = (line: string) => {
    notes.push(line);
    if (how.stopAt && line.includes(how.stopAt)) controller.abort();
  };
  const outcome = await runPipeline(configIn(folder, how), {
    device: device("cpu"),
    directory: join(folder, "run"),
    console: { ...silent, note },
    signal: controller.signal,
    write() {},
    choice: how.choice ?? {},
  });
  return { outcome, notes };
}

const anew = (notes: readonly string[]) => notes.flatMap((note) => /^(\S+: .+): measured in/.exec(note)?.[1] ?? []);
const keptOnes = (notes: readonly string[]) => notes.flatMap((note) => /^(\S+: .+): kept,/.exec(note)?.[1] ?? []);
const resultsIn = (run: string, stage: string) => JSON.parse(readFileSync(join(run, stage, "results.json"), "utf8"));

describe("a stage of measurements", () => {
  test("tells a table, keeps its results, and is no model: stages behind it go on from the one before it", async () => {
    using folder = begun();
    const { outcome, notes } = await sitting(folder.path);
    expect(outcome).toBe("finished");
    expect(anew(notes)).toEqual([
      "eval: perplexity of pretrain",
      "eval: answers of pretrain",
      "both: perplexity of pretrain",
      "both: perplexity of sft",
    ]);
    expect(notes.filter((note) => /^ +pretrain( +sft)?$/.test(note)).length).toBe(2);
    expect(notes.some((note) => /^perplexity +perplexity +[\d.]+ ± [\d.]+ +[\d.]+ ± [\d.]+$/.test(note))).toBe(true);
    const [alone] = resultsIn(folder.run, "eval").results;
    const [first, second] = resultsIn(folder.run, "both").results;
    expect([first.model, second.model, first.key]).toEqual(["pretrain", "sft", alone.key]);
    expect(first.figures).toEqual(alone.figures);
    expect(second.figures.loss).not.toBe(first.figures.loss);
    const config = configIn(folder.path);
    const reads = graphOf(config).map(({ reads }) =>
      [...reads.values()].map((to) => (to.to === "stage" ? to.node.name : to.to)),
    );
    expect(reads).toEqual([["new"], ["pretrain"], ["pretrain"], ["pretrain", "sft"]]);
    expect(resultOf(config)).toBe("sft");
    expect(modelDirectory(folder.run)).toBe(modelDirectory(join(folder.run, "sft")));
    expect(() => modelDirectory(join(folder.run, "both"))).toThrow("no model at");
    const { text } = await planOf(config, { directory: folder.run, console: silent });
    expect(text).toContain("stage 4: both (eval) <- pretrain, sft: finished\n");
    expect(text).toContain("the run stands for sft\n");
  });

  test("run again measures nothing; other words and other places neither", async () => {
    using folder = begun();
    await sitting(folder.path);
    const before = resultsIn(folder.run, "eval");
    const again = await sitting(folder.path);
    expect([anew(again.notes), keptOnes(again.notes)]).toEqual([[], []]);
    expect(again.notes.filter((note) => note.endsWith("finished before")).length).toBe(4);
    writeFileSync(join(folder.path, "elsewhere.txt"), readFileSync(join(folder.path, "held.txt")));
    const moved = await sitting(folder.path, {
      evals: [
        { kind: "perplexity", name: "held out", data: join(folder.path, "elsewhere.txt"), context: 16 },
        { kind: "answers", data: join(folder.path, "a.jsonl"), template: "instruction", limit: 4, maxTokens: 4 },
      ],
    });
    expect([anew(moved.notes), keptOnes(moved.notes)]).toEqual([[], []]);
    expect(resultsIn(folder.run, "eval")).toEqual(before);
  });

  test("measures again what has changed: the data, the settings, the model; the rest of it is kept", async () => {
    using folder = begun();
    await sitting(folder.path);
    const held = readFileSync(join(folder.path, "held.txt"), "utf8");
    writeFileSync(join(folder.path, "held.txt"), held.replace("number", "letter"));
    const data = await sitting(folder.path);
    expect(data.notes.find((note) => note.startsWith("eval: runs again"))).toContain("held.txt has changed");
    expect(anew(data.notes)).toEqual([
      "eval: perplexity of pretrain",
      "both: perplexity of pretrain",
      "both: perplexity of sft",
    ]);
    expect(keptOnes(data.notes)).toEqual(["eval: answers of pretrain"]);
    const fresh = await sitting(folder.path, { choice: { only: ["eval"], fresh: true } });
    expect(anew(fresh.notes)).toEqual(["eval: perplexity of pretrain", "eval: answers of pretrain"]);
    // The former result comes back as a whole.
    writeFileSync(join(folder.path, "held.txt"), held);
    expect(anew((await sitting(folder.path)).notes)).toEqual([]);
    const evals = [
      { kind: "perplexity", data: join(folder.path, "held.txt"), context: 16 },
      { kind: "answers", data: join(folder.path, "a.jsonl"), template: "instruction", limit: 5, maxTokens: 4 },
    ];
    const settings = await sitting(folder.path, { evals });
    expect(settings.notes.find((note) => note.startsWith("eval: runs again"))).toContain(
      "evals.2.limit was 4 and is 5",
    );
    expect([anew(settings.notes), keptOnes(settings.notes)]).toEqual([
      ["eval: answers of pretrain"],
      ["eval: perplexity of pretrain"],
    ]);
    const model = await sitting(folder.path, { evals, rate: 1e-2 });
    expect(model.notes.find((note) => note.startsWith("both: runs again"))).toContain("sft has another result");
    expect([anew(model.notes), keptOnes(model.notes)]).toEqual([
      ["both: perplexity of sft"],
      ["both: perplexity of pretrain"],
    ]);
  });

  test("that is cut off goes on with what is left", async () => {
    using folder = begun();
    const cut = await sitting(folder.path, { stopAt: "eval: perplexity of pretrain: measured" });
    expect(cut.outcome).toBe("interrupted");
    expect(resultsIn(folder.run, "eval").results.length).toBe(1);
    const on = await sitting(folder.path);
    expect(keptOnes(on.notes)).toEqual(["eval: perplexity of pretrain"]);
    expect(anew(on.notes)[0]).toBe("eval: answers of pretrain");
  });

  test("of which an entry fails is not finished; what it has measured is kept, and the rest of the run can go on", async () => {
    using folder = begun();
    const evals = [
      { kind: "answers", data: join(folder.path, "text.txt") },
      { kind: "perplexity", data: join(folder.path, "held.txt"), context: 16 },
    ];
    const failed = await sitting(folder.path, { evals }).catch(messageOf);
    expect(failed).toMatch(/^eval: 1 of 2 were not measured: \S+text\.txt has no conversation: its records are text$/);
    const { results, failures } = resultsIn(folder.run, "eval");
    expect([results.length, failures.length]).toEqual([1, 1]);
    const going = await sitting(folder.path, { evals, choice: { keepGoing: true } }).catch(messageOf);
    expect(going).toBe("eval failed or could not be run");
    expect(resultsIn(folder.run, "both").results.length).toBe(2);
    const mended = await sitting(folder.path, { evals: evals.slice(1) });
    expect([anew(mended.notes), keptOnes(mended.notes)]).toEqual([[], ["eval: perplexity of pretrain"]]);
  });

  test("whose results were changed by hand is told; one whose results are gone is measured again", async () => {
    using folder = begun();
    await sitting(folder.path);
    const path = join(folder.run, "eval", "results.json");
    const whole = readFileSync(path, "utf8");
    writeFileSync(path, whole.replace(/"perplexity": [\d.]+/, '"perplexity": 1'));
    await expect(sitting(folder.path)).rejects.toThrow("is not what eval made when it finished");
    rmSync(path);
    expect(anew((await sitting(folder.path)).notes)).toEqual([
      "eval: perplexity of pretrain",
      "eval: answers of pretrain",
    ]);
    expect(readdirSync(folder.run).filter((name) => name.includes("@"))).toEqual([]);
  });
});

test("a reward model is an earlier stage, and a folder's files are data: with either other, it is measured again", async () => {
  using folder = begun();
  const at = (name: string) => join(folder.path, name);
  const lines = (rows: readonly object[]) => rows.map((row) => `${JSON.stringify(row)}\n`).join("");
  const pair = (i: number) => ({ prompt: `what is ${i % 7}`, chosen: ` it is ${i % 5}`, rejected: ` no ${i % 3}` });
  writeFileSync(at("pairs.jsonl"), lines(Array.from({ length: 24 }, (_, i) => pair(i))));
  mkdirSync(at("blimp"));
  writeFileSync(at("blimp/x.jsonl"), lines([{ sentence_good: "what is it?", sentence_bad: "is what it?" }]));
  const shape = { evaluate: { every: 4 }, save: { every: 4 } };
  const config = (steps: number) =>
    checkConfig({
      model: { layers: 1, heads: 1, width: 16, context: 128 },
      tokenizer: { kind: "bpe", size: 260 },
      stage: [
        { kind: "pretrain", data: at("text.txt"), ...shape, batch: { rows: 4, tokens: 24 }, optim: { steps: 4 } },
        { kind: "reward", data: at("pairs.jsonl"), ...shape, batch: { rows: 4, tokens: 64 }, optim: { steps } },
        {
          kind: "eval",
          from: "pretrain",
          evals: [
            {
              kind: "best-of",
              data: at("pairs.jsonl"),
              reward: "reward",
              samples: 3,
              limit: 2,
              maxTokens: 4,
              rule: "length:9",
            },
            { kind: "choice", task: "blimp", data: at("blimp") },
            { kind: "compare", data: at("pairs.jsonl"), against: "pretrain", reward: "reward", limit: 2, maxTokens: 4 },
          ],
        },
      ],
    });
  const run = async (steps: number) => {
    const notes: string[] = [];
    await runPipeline(config(steps), {
      device: device("cpu"),
      directory: folder.run,
      console: { ...silent, note: (line) => notes.push(line) },
      signal: new AbortController().signal,
      write() {},
    });
    return notes;
  };
  expect(anew(await run(2))).toEqual([
    "eval: best-of of pretrain",
    "eval: choice of pretrain",
    "eval: compare of pretrain",
  ]);
  const [best, choice, compared] = resultsIn(folder.run, "eval").results;
  expect(best.table.map(({ name }: { name: string }) => name)).toEqual([
    "reward of all",
    "reward of the best",
    "score of all",
    "score of the best",
  ]);
  // The model against itself, whose answers are the same.
  expect(compared.figures).toMatchObject({ prompts: 2, equal: 2, scores: { reward: { win_rate: 50, difference: 0 } } });
  expect(best.table[1].value).toBeGreaterThan(best.table[0].value);
  expect([best.hashes.reward.length, choice.hashes.files]).toEqual([64, { [at("blimp/x.jsonl")]: expect.any(String) }]);
  writeFileSync(at("blimp/y.jsonl"), lines([{ sentence_good: "it is a number", sentence_bad: "it a is number" }]));
  expect(anew(await run(2))).toEqual(["eval: choice of pretrain"]);
  expect(anew(await run(3))).toEqual(["eval: best-of of pretrain", "eval: compare of pretrain"]);
});

describe("refused is", () => {
  const perplexity = { kind: "perplexity", data: "x.txt" };
  const of = (more: object, eval_: object = {}) =>
    messageOf(
      (() => {
        try {
          return checkConfig({
            stage: [
              { kind: "pretrain", data: "x.txt", optim: { steps: 1 } },
              { kind: "eval", evals: [perplexity], ...eval_ },
              { kind: "merge", models: ["pretrain"] },
            ],
            ...more,
          });
        } catch (error) {
          return error;
        }
      })(),
    );
  test.each<[string, string, string]>([
    [
      "a measurement as the run's result",
      of({ result: "eval" }),
      "result: stage eval only measures, and makes no model",
    ],
    [
      "a measurement as what a stage reads",
      of({
        stage: [
          { kind: "eval", from: "gpt2", evals: [perplexity] },
          { kind: "merge", models: ["gpt2", "eval"] },
        ],
      }),
      "stage[1].models[1]: stage eval only measures, and makes no model",
    ],
    [
      "a measurement as what a stage goes on from",
      of({
        stage: [
          { kind: "eval", from: "gpt2", evals: [perplexity] },
          { kind: "sft", from: "eval", data: "x" },
        ],
      }),
      "stage[1].from: stage eval only measures, and makes no model",
    ],
    [
      "from beside models",
      of({}, { from: "pretrain", models: ["pretrain"] }),
      "stage[1].models: from names a model too; give one of both",
    ],
    ["a model twice", of({}, { models: ["pretrain", "pretrain"] }), "stage[1].models: one of them is named twice"],
    [
      "two entries of one name",
      of({}, { evals: [1, 2].map(() => ({ ...perplexity, name: "x" })) }),
      "stage[1].evals[1].name: another is named x too; give each its own name",
    ],
    [
      "a reward model that is nowhere",
      of({}, { evals: [{ kind: "best-of", data: "x", reward: "pretrian" }] }),
      "stage[1].evals[0].reward: pretrian is no earlier stage, no path and no name on the Hub; did you mean pretrain?",
    ],
    [
      "text from a run that makes no model",
      of({ stage: [{ kind: "eval", from: "gpt2", evals: [perplexity] }], generate: { prompts: ["x"] } }),
      "generate: no stage makes a model that could write",
    ],
  ])("%s", (_, found, wanted) => {
    expect(found).toBe(wanted);
  });

  test("what could not be measured is told before anything is trained", async () => {
    using folder = begun();
    const at = (name: string) => join(folder.path, name);
    const told = (evals: readonly object[], check = {}) => sitting(folder.path, { evals, check }).catch(messageOf);
    expect(await told([{ kind: "perplexity", data: at("none.txt") }])).toContain("none.txt cannot be read");
    expect(await told([{ kind: "perplexity", data: at("held.txt"), context: 129 }])).toBe(
      "context is 129, and the model's context is 128",
    );
    expect(await told([{ kind: "best-of", data: at("a.jsonl"), reward: "pretrain" }])).toBe(
      "pretrain has no scalar head: it is no reward model",
    );
    expect(await told([{ kind: "perplexity", data: at("held.txt") }], { from: "new" })).toBe(
      "there is no trained model to measure",
    );
    expect(existsSync(folder.run)).toBe(false);
  });
});

test("paths beside a config are those of its measurements too", async () => {
  using folder = begun();
  mkdirSync(join(folder.path, "blimp"));
  writeFileSync(join(folder.path, "rule.ts"), "export const score = () => 1;");
  writeFileSync(
    join(folder.path, "c.toml"),
    `model.from = "gpt2"
[[stage]]
kind = "eval"
evals = [
  { kind = "choice", task = "blimp", data = "blimp" },
  { kind = "rule", rule = "rule.ts#score", data = "a.jsonl" },
  { kind = "rule", rule = "exact", data = "data/questions-test.jsonl" },
]
`,
  );
  const { stage } = await readConfigFile(join(folder.path, "c.toml"));
  expect(stage[0]).toMatchObject({
    evals: [
      { data: join(folder.path, "blimp") },
      { data: join(folder.path, "a.jsonl"), rule: `${join(folder.path, "rule.ts")}#score` },
      { data: "data/questions-test.jsonl", rule: "exact" },
    ],
  });
});
