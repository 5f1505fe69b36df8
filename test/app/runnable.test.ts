/** What a run would fail by is told before anything is run, and by --plan; where the paths of a config are looked for. */
import { expect, test } from "bun:test";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { checkConfig, readConfigFile } from "../../src/app/config-file";
import { runPipeline } from "../../src/app/pipeline";
import { planOf } from "../../src/app/plan";
import { device } from "../support/device";
import { temporaryFolder } from "../support/folder";

const model = { layers: 1, heads: 1, width: 16, context: 16 };
const pretrain = {
  kind: "pretrain",
  data: "text.txt",
  batch: { rows: 1, tokens: 16 },
  optim: { steps: 2, lr: 1e-3, warmup: 0 },
};
const sft = { kind: "sft", data: "qa.jsonl", batch: { rows: 1, tokens: 16 }, optim: { steps: 2 } };

const cases: [string, object[], string][] = [
  ["missing data", [{ ...pretrain, data: "gone.txt" }], "gone.txt cannot be read: there is no such file"],
  ["missing validation", [{ ...pretrain, validation: "gone.txt" }], "gone.txt cannot be read"],
  ["a missing template", [pretrain, { ...sft, template: "gone.jinja" }], "there is no chat template gone.jinja"],
  [
    "warm-up beyond the steps",
    [{ ...pretrain, optim: { steps: 2, warmup: 3 } }],
    "optim.warmup is 3, and the stage has 2 steps",
  ],
  [
    "a later stage's",
    [pretrain, { ...sft, optim: { steps: 2, warmup: 3 } }],
    "sft: optim.warmup is 3, and the stage has 2 steps",
  ],
  [
    "rows beyond the context",
    [pretrain, { ...sft, batch: { tokens: 17 } }],
    "batch.tokens is 17, and the model's context is 16",
  ],
  [
    "a target that is no layer",
    [pretrain, { ...sft, lora: { targets: ["attn.c_attn", "q_proj"] } }],
    "lora.targets names no layer: q_proj",
  ],
  ["no target at all", [pretrain, { ...sft, lora: { targets: ["h.7.*"] } }], "lora.targets names no layer: h.7.*"],
  ["an adapter for a new model", [{ ...sft, from: "new", lora: {} }], "an adapter needs a saved model to be for"],
  [
    "models that have no mean",
    [
      pretrain,
      { ...pretrain, name: "deep", from: "new", model: { ...model, layers: 2 } },
      { kind: "merge", models: ["pretrain", "deep"] },
    ],
    "deep and pretrain are not of one shape: layers is 2 and 1",
  ],
  [
    "patience for nothing",
    [{ ...pretrain, validation: "none", evaluate: { patience: 2 } }],
    "evaluate.patience counts for nothing",
  ],
];

test.each(cases)("%s", async (_name, stage, wanted) => {
  using folder = temporaryFolder();
  const here = (value: string) => (/^(text|qa)\./.test(value) ? join(folder.path, value) : value);
  writeFileSync(here("text.txt"), "ab".repeat(400));
  writeFileSync(here("qa.jsonl"), '{"prompt":"a","completion":"b"}\n'.repeat(3));
  const stages = stage.map((each) => ({ ...each, ...("data" in each && { data: here(each.data as string) }) }));
  const config = checkConfig({ model, tokenizer: { kind: "character" }, stage: stages });
  const directory = join(folder.path, "run");
  const notes: string[] = [];
  const console = { colour: false, note: (text: string) => void notes.push(text), status() {}, done() {} };
  const more = { device: device("cpu"), signal: new AbortController().signal, write() {} };
  await expect(planOf(config, { directory, console })).rejects.toThrow(wanted);
  await expect(runPipeline(config, { directory, console, ...more })).rejects.toThrow(wanted);
  expect(existsSync(directory)).toBe(false);
});

test("a tokenizer that is not there is told at once", async () => {
  using folder = temporaryFolder();
  writeFileSync(join(folder.path, "text.txt"), "ab");
  const stage = [{ ...pretrain, data: join(folder.path, "text.txt") }];
  const config = checkConfig({ model, tokenizer: { kind: "file", path: "gone" }, stage });
  const console = { colour: false, note() {}, status() {}, done() {} };
  await expect(planOf(config, { directory: "nowhere", console })).rejects.toThrow("gone cannot be read");
});

test("nothing is evaluated without validation data, and all is trained on", async () => {
  using folder = temporaryFolder();
  const data = { text: join(folder.path, "text.txt"), qa: join(folder.path, "qa.jsonl") };
  writeFileSync(data.text, "ab".repeat(400));
  writeFileSync(data.qa, '{"prompt":"a","completion":"b"}\n');
  const directory = join(folder.path, "run");
  const notes: string[] = [];
  const none = { validation: "none" };
  const stage = [
    { ...pretrain, ...none, data: data.text },
    { ...sft, ...none, data: data.qa, evaluate: { every: 1 } },
  ];
  const config = checkConfig({ model, tokenizer: { kind: "character" }, stage });
  const outcome = await runPipeline(config, {
    device: device("cpu"),
    directory,
    console: { colour: false, note: (text) => void notes.push(text), status() {}, done() {} },
    signal: new AbortController().signal,
    write() {},
  });
  expect(outcome).toBe("finished");
  expect(notes.join("\n")).toContain("sft: 1 examples in 1 steps an epoch, 0 held out");
  expect(notes.join("\n")).not.toMatch(/validation loss|step 0: loss/);
  const index = JSON.parse(readFileSync(join(directory, "sft", "checkpoints.json"), "utf8"));
  expect(index).toMatchObject({ latest: "step-000002", best: null, finished: true });
});

test("relative paths are looked for beside the config, then here, then inside the program", async () => {
  using folder = temporaryFolder();
  const at = (...names: string[]) => join(folder.path, ...names);
  mkdirSync(at("tok"));
  for (const name of ["a.txt", "held.txt", "t.jinja"]) writeFileSync(at(name), "ab".repeat(40));
  writeFileSync(
    at("c.toml"),
    `[tokenizer]
kind = "file"
path = "tok"
[[stage]]
kind = "pretrain"
data = ["a.txt", "data/tales.txt", "package.json"]
validation = "held.txt"
optim = { steps = 1 }
[[stage]]
kind = "sft"
from = "pretrain"
data = "alpaca"
template = "t.jinja"
`,
  );
  const { stage, tokenizer } = await readConfigFile(at("c.toml"));
  expect(tokenizer).toMatchObject({ path: at("tok") });
  expect(stage[0]).toMatchObject({ data: [at("a.txt"), "data/tales.txt", "package.json"], validation: at("held.txt") });
  expect(stage[1]).toMatchObject({ from: "pretrain", data: "alpaca", validation: 0.05, template: at("t.jinja") });
  // What is given by hand is meant from here.
  const given = await readConfigFile(at("c.toml"), ["stage.0.data=a.txt"]);
  expect(given.stage[0]).toMatchObject({ data: "a.txt" });
  const console = { colour: false, note() {}, status() {}, done() {} };
  const plan = planOf(given, { directory: "nowhere", console, beside: folder.path });
  await expect(plan).rejects.toMatchObject({
    message: "a.txt cannot be read: there is no such file",
    hint: `it was looked for beside the config (${folder.path}), in the current folder and inside the program; a data set goes by its name`,
  });
});
