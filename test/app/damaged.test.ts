/** Runs whose files were damaged or lost: what is damaged is said, the newest whole checkpoint goes on, and nothing is lost. */
import { describe, expect, test } from "bun:test";
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { checkConfig } from "../../src/app/config-file";
import { modelDirectory } from "../../src/app/model";
import { runPipeline } from "../../src/app/pipeline";
import { planOf } from "../../src/app/plan";
import { silent } from "../support/console";
import { device } from "../support/device";
import { temporaryFolder } from "../support/folder";

const base = temporaryFolder();
process.on("exit", () => base[Symbol.dispose]());
const text = join(base.path, "text.txt");
writeFileSync(text, "what is it? it is a number 0123456. ".repeat(60));

const config = checkConfig({
  name: "one",
  model: { layers: 1, heads: 1, width: 16, context: 24 },
  tokenizer: { kind: "character" },
  stage: [
    {
      kind: "pretrain",
      data: text,
      batch: { rows: 4, tokens: 24 },
      optim: { steps: 12, lr: 3e-3 },
      evaluate: { every: 4, batches: 2 },
      save: { every: 2, keep: 3 },
    },
  ],
});

/** The notes of a sitting; Ctrl-C comes with the note `stopAt`. */
async function sitting(directory: string, stopAt?: string): Promise<string[]> {
  const notes: string[] = [];
  const controller = new AbortController();
  await runPipeline(config, {
    device: device("cpu"),
    directory,
    console: {
      ...silent,
      note(line) {
        notes.push(line);
        if (stopAt && line.includes(stopAt)) controller.abort();
      },
    },
    signal: controller.signal,
    write() {},
  });
  return notes;
}

const whole = join(base.path, "whole");
const half = join(base.path, "half");
await sitting(whole);
await sitting(half, "step 8/12");

const files = (directory: string) =>
  ["model.safetensors", "optimizer.safetensors"].map((name) =>
    readFileSync(join(directory, "pretrain", "step-000012", name)).toString("hex"),
  );

const written = (name: string, content: string) => (stage: string) => {
  rmSync(join(stage, name), { recursive: true, force: true });
  writeFileSync(join(stage, name), content);
};
const changed = (name: string, change: object) => (stage: string) => {
  const path = join(stage, name);
  writeFileSync(path, JSON.stringify({ ...JSON.parse(readFileSync(path, "utf8")), ...change }));
};
const removed = (name: string) => (stage: string) => rmSync(join(stage, name), { recursive: true });
const cut = (name: string) => (stage: string) => truncateSync(join(stage, name), 200);
const folder = (name: string) => (stage: string) => {
  rmSync(join(stage, name), { recursive: true });
  mkdirSync(join(stage, name));
};

interface Damage {
  readonly what: string;
  readonly damage: (stage: string) => void;
  /** After which step it goes on. */
  readonly from: number;
  readonly said: RegExp;
}

const latest = "step-000008";

const damages: readonly Damage[] = [
  { what: "its latest weights cut", damage: cut(`${latest}/model.safetensors`), from: 6, said: /model.safetensors/ },
  { what: "its latest moments cut", damage: cut(`${latest}/optimizer.safetensors`), from: 6, said: /optimizer/ },
  { what: "its latest checkpoint gone", damage: removed(latest), from: 6, said: /training.json cannot be read/ },
  { what: "its config cut", damage: cut(`${latest}/config.json`), from: 6, said: /config.json is not valid JSON/ },
  { what: "training.json gone", damage: removed(`${latest}/training.json`), from: 6, said: /there is no such file/ },
  { what: "training.json a folder", damage: folder(`${latest}/training.json`), from: 6, said: /it is a folder/ },
  ...["", "{}", "[]", "7", "null", "[".repeat(300_000)].map((content) => ({
    what: `training.json ${content.slice(0, 8) || "empty"}`,
    damage: written(`${latest}/training.json`, content),
    from: 6,
    said: /training.json/,
  })),
  { what: "a part of a step", damage: changed(`${latest}/training.json`, { step: 7.5 }), from: 6, said: /step: / },
  { what: "another's step", damage: changed(`${latest}/training.json`, { step: 4 }), from: 6, said: /is of step 4/ },
  {
    what: "its two newest checkpoints damaged",
    damage(stage) {
      cut(`${latest}/model.safetensors`)(stage);
      written("step-000006/training.json", "{")(stage);
    },
    from: 4,
    said: /step-000006.training.json is not valid JSON/,
  },
  { what: "checkpoints.json gone", damage: removed("checkpoints.json"), from: 8, said: /checkpoints.json is written/ },
  { what: "checkpoints.json a folder", damage: folder("checkpoints.json"), from: 8, said: /it is a folder/ },
  ...["", "{}", "[]", "7", "null"].map((content) => ({
    what: `checkpoints.json ${content || "empty"}`,
    damage: written("checkpoints.json", content),
    from: 8,
    said: /checkpoints.json is written anew/,
  })),
  {
    what: "a latest checkpoint elsewhere",
    damage: changed("checkpoints.json", { latest: "../../elsewhere" }),
    from: 8,
    said: /latest: expected a checkpoint's name/,
  },
  ...["", "[]", "[".repeat(300_000)].map((content) => ({
    what: `stage.json ${content.slice(0, 8) || "empty"}`,
    damage: written("stage.json", content),
    from: 8,
    said: /stage.json.*; it is kept in .*stage.json.damaged/,
  })),
  ...["", "[]", '{"stage": 7}', '{"stage": [null]}'].map((content) => ({
    what: `run.json ${content || "empty"}`,
    damage: written("../run.json", content),
    from: 8,
    said: /resuming after step 8/,
  })),
];

describe("an interrupted run with", () => {
  for (const { what, damage, from, said } of damages)
    test(`${what} goes on after step ${from}, to the same bytes`, async () => {
      using copy = temporaryFolder();
      const run = join(copy.path, "run");
      cpSync(half, run, { recursive: true });
      damage(join(run, "pretrain"));
      const notes = await sitting(run);
      expect(notes).toContain(`pretrain: resuming after step ${from}`);
      expect(notes.join("\n")).toMatch(said);
      expect(files(run)).toEqual(files(whole));
      expect(modelDirectory(run)).toBe(modelDirectory(whole).replace(whole, run));
    });
});

test("what a killed process left is cleared away, and what it was about to replace is brought back", async () => {
  using copy = temporaryFolder();
  const run = join(copy.path, "run");
  cpSync(half, run, { recursive: true });
  const stage = join(run, "pretrain");
  const remains = [".step-000010.77-0123456789ab.tmp", ".stage.json.77-0123456789ab.tmp", ".keep"];
  for (const name of remains) writeFileSync(join(stage, name), "");
  renameSync(join(stage, latest), join(stage, `.${latest}.77-0123456789ab.old`));
  const notes = await sitting(run);
  expect(notes).toContain("pretrain: resuming after step 8");
  expect(readdirSync(stage).filter((name) => name.startsWith("."))).toEqual([".keep"]);
});

test("a stage's folder may be a link to another disk", async () => {
  using copy = temporaryFolder();
  const run = join(copy.path, "run");
  const elsewhere = join(copy.path, "elsewhere");
  cpSync(half, run, { recursive: true });
  renameSync(join(run, "pretrain"), elsewhere);
  symlinkSync(elsewhere, join(run, "pretrain"));
  writeFileSync(join(elsewhere, "stage.json"), "{");
  writeFileSync(join(elsewhere, ".stage.json.77-0123456789ab.tmp"), "");
  expect(await sitting(run)).toContain("pretrain: resuming after step 8");
  expect(files(run)).toEqual(files(whole));
  expect(readdirSync(elsewhere).filter((name) => name.startsWith("."))).toEqual([]);
});

test("a checkpoint that is damaged is kept under another name", async () => {
  using copy = temporaryFolder();
  const run = join(copy.path, "run");
  cpSync(half, run, { recursive: true });
  cut(`${latest}/model.safetensors`)(join(run, "pretrain"));
  await sitting(run);
  expect(existsSync(join(run, "pretrain", `${latest}.damaged`, "optimizer.safetensors"))).toBe(true);
});

test("where no checkpoint is whole, that is said, and all are left as they were", async () => {
  using copy = temporaryFolder();
  const run = join(copy.path, "run");
  cpSync(half, run, { recursive: true });
  const stage = join(run, "pretrain");
  const before = readdirSync(stage).filter((name) => name.startsWith("step-"));
  for (const name of before) cut(`${name}/optimizer.safetensors`)(stage);
  await expect(sitting(run)).rejects.toThrow(/no checkpoint in .* is whole: .*step-000008/);
  expect(readdirSync(stage).filter((name) => name.startsWith("step-"))).toEqual(before);
});

describe("a finished run whose best checkpoint is", () => {
  const best = modelDirectory(whole).split("/").at(-1)!;
  for (const [what, damage] of [
    ["gone", removed(best)],
    ["cut short", cut(`${best}/model.safetensors`)],
    ...["model.safetensors", "config.json", "tokenizer.json", "tokenizer_config.json"].map(
      (name) => [`without its ${name}`, removed(`${best}/${name}`)] as const,
    ),
    ["with an empty config", written(`${best}/config.json`, "{}")],
  ] as const)
    test(`${what} goes on from one that is whole`, async () => {
      using copy = temporaryFolder();
      const run = join(copy.path, "run");
      cpSync(whole, run, { recursive: true });
      damage(join(run, "pretrain"));
      if (what === "gone") expect(() => modelDirectory(run)).toThrow(/the best checkpoint of .*, step-\d+, is gone/);
      expect((await planOf(config, { directory: run, console: silent })).text).toMatch(/<- new: to go on after step/);
      const notes = await sitting(run);
      expect(notes.join("\n")).toMatch(/resuming after step (10|12)/);
      expect(files(run)).toEqual(files(whole));
      expect(existsSync(modelDirectory(run))).toBe(true);
      expect(await sitting(run)).toEqual(["pretrain: finished before"]);
    });
});
