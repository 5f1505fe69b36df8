/** Stages that learn from what they write, from records to checkpoints: interrupted anywhere and resumed they give the uninterrupted run. */
import { describe, expect, test } from "bun:test";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { scalarOf } from "../../src/formats/checkpoint";
import { modelOf } from "../../src/model/model";
import { initialise } from "../../src/model/parameters";
import { Slab } from "../../src/model/slab";
import type { Built, Context } from "../../src/stages/context";
import * as grpo from "../../src/stages/grpo";
import * as ppo from "../../src/stages/ppo";
import * as rloo from "../../src/stages/rloo";
import { trainCharacters } from "../../src/text/characters";
import { tokenizerFrom } from "../../src/text/tokenizer";
import { fit } from "../../src/train/fit";
import type { Training } from "../../src/train/settings";
import type { Stage } from "../../src/train/stage";
import { ownCacheFolder } from "../support/cache";
import { device, type Kind } from "../support/device";
import { temporaryFolder } from "../support/folder";

ownCacheFolder();

const records = Array.from({ length: 12 }, (_, i) => ({
  prompt: `${"abcdefghijkl"[i]}${"?".repeat(1 + (i % 3))}`,
  answer: "ab",
}));
const tokenizer = tokenizerFrom(trainCharacters(["abcdefghijkl?"]));
const size = { type: "gpt2", vocabulary: tokenizer.size, context: 16, layers: 1, heads: 2, width: 16, epsilon: 1e-5 };
/** Some letters are worth more than others: nothing is all the same for long. */
const reward = "regex:^[a-f]";

interface Online {
  readonly schema: { parse(given: unknown): unknown };
  settings(config: never): Training;
  build(config: never, context: Context): Promise<Built>;
}

const kinds: Readonly<Record<string, Online>> = { grpo, rloo, ppo };

interface Trial {
  readonly signal?: AbortSignal;
  readonly change?: (stage: Stage) => Stage;
  readonly notes?: string[];
  readonly seed?: number;
  readonly on?: Kind;
}

async function train(folder: string, kind: string, more: object, trial: Trial = {}) {
  const { schema, settings, build } = kinds[kind]!;
  const { signal = new AbortController().signal, change = (stage) => stage, notes = [], seed = 1, on = "cpu" } = trial;
  const path = join(folder, "data.jsonl");
  writeFileSync(path, records.map((record) => `${JSON.stringify(record)}\n`).join(""));
  const text = join(folder, "text.txt");
  writeFileSync(text, "abcdefghijkl".repeat(20));
  const config = schema.parse({
    kind,
    data: path,
    validation: path,
    rewards: [reward, "length:3"],
    batch: { rows: 3 },
    rollout: { prompts: 4, samples: 2, tokens: 5, together: 3, temperature: 0.9 },
    optim: { lr: 3e-3, steps: 12, schedule: "constant" },
    evaluate: { every: 6, batches: 2 },
    save: { every: 5, keep: 9 },
    samples: { every: 4, count: 2 },
    logEvery: 1,
    ...more,
  });
  const model = modelOf(size);
  using weights = new Slab(device(on), model.parameters, { values: initialise(model.parameters, 1) });
  const console = { colour: false, note: (text: string) => notes.push(text), status() {}, done() {} };
  const directory = join(folder, "stage");
  mkdirSync(directory, { recursive: true });
  const context: Context = {
    device: device(on),
    seed,
    tokenizer,
    model,
    weights,
    base: "gpt2",
    console,
    find: async (path) => (path === "text" ? text : path),
    locate: async () => null,
    directory,
    signal,
    async open() {
      const scalar = modelOf(scalarOf(size));
      const slab = new Slab(device(on), scalar.parameters, { values: initialise(scalar.parameters, 3) });
      return {
        model: scalar,
        weights: slab,
        tokenizer,
        base: "reward",
        [Symbol.dispose]: () => slab[Symbol.dispose](),
      };
    },
  };
  using stage = await build(config as never, context);
  const { reason } = await fit(change(stage), { ...context, name: kind, settings: settings(config as never) });
  return { reason, values: stage.trained.map(({ weights }) => weights.download()) };
}

/** What is told of a run, but for what its clock says. */
function told(folder: string): string[] {
  const lines = readFileSync(join(folder, "stage", "metrics.jsonl"), "utf8")
    .trim()
    .split("\n");
  return lines.map((line) =>
    JSON.stringify(
      Object.fromEntries(Object.entries(JSON.parse(line)).filter(([key]) => !/per_second|time/.test(key))),
    ),
  );
}

const trials: [kind: string, more: object][] = [
  ["grpo", { iterations: 2, minibatches: 2, beta: 0.1, dynamicSampling: 3, maskTruncated: true }],
  ["grpo", { loss: "cispo", iterations: 4, lora: { targets: ["all-linear"], rank: 2 }, beta: 0.1 }],
  ["rloo", { minibatches: 4 }],
  ["ppo", { passes: 2, minibatches: 2, average: 0.9, kl: { target: 0.5, horizon: 20 }, missingEnd: { penalty: 0.5 } }],
  ["ppo", { passes: 4, critic: "reward", rewards: ["reward", reward] }],
  ["ppo", { pretraining: { data: "text", rows: 2, accumulate: 2, tokens: 8 }, stop: { text: "c", after: 2 } }],
  ["ppo", { passes: 4, critic: "reward", lora: { targets: ["attn.c_attn"], rank: 2 }, whitenRewards: true }],
];

const interrupts: [where: string, step: number, when: "before" | "after"][] = [
  ["in the middle of a round", 6, "after"],
  ["in a rollout", 8, "before"],
  ["between rounds", 8, "after"],
];

// The adapter is slow where it is software: all of them on the CPU device, and some everywhere.
for (const { kinds, chosen, times } of [
  { kinds: ["cpu"] as Kind[], chosen: trials, times: interrupts },
  { kinds: ["adapter", "wasm"] as Kind[], chosen: [trials[0]!, trials[4]!], times: interrupts.slice(0, 1) },
])
  describe.each(kinds)("on the %s", (on) => {
    describe.each(chosen)("%s %j", (kind, more) => {
      test.each(times)("interrupted %s and resumed, all is as if it had not been", async (_, at, when) => {
        using whole = temporaryFolder();
        using broken = temporaryFolder();
        const wanted = await train(whole.path, kind, more, { on });
        const interrupt = new AbortController();
        const change = (stage: Stage): Stage => ({
          ...stage,
          async *step(n, share) {
            if (n === at && when === "before") interrupt.abort();
            yield* stage.step(n, share);
            if (n === at - 1 && when === "after") interrupt.abort();
          },
        });
        const cut = await train(broken.path, kind, more, { signal: interrupt.signal, change, on });
        expect(cut.reason).toBe("interrupted");
        const notes: string[] = [];
        const found = await train(broken.path, kind, more, { notes, on });
        expect(notes.join("\n")).toContain(`resuming after step ${at}`);
        for (const [i, values] of wanted.values.entries()) expect(found.values[i]).toEqual(values);
        expect(told(broken.path)).toEqual(told(whole.path));
        const samples = (folder: string) => readFileSync(join(folder, "stage", "samples.jsonl"), "utf8");
        expect(samples(broken.path)).toBe(samples(whole.path));
      });
    });
  });

test("one seed repeats a run, and two differ", async () => {
  using first = temporaryFolder();
  using second = temporaryFolder();
  using third = temporaryFolder();
  const [a, b, c] = [
    await train(first.path, "grpo", {}),
    await train(second.path, "grpo", {}),
    await train(third.path, "grpo", {}, { seed: 2 }),
  ];
  expect(b.values).toEqual(a.values);
  expect(c.values).not.toEqual(a.values);
});

test("how many are written at a time changes nothing", async () => {
  using one = temporaryFolder();
  using many = temporaryFolder();
  const rollout = { prompts: 4, samples: 2, tokens: 5, temperature: 1 };
  const a = await train(one.path, "ppo", { rollout: { ...rollout, together: 1 } });
  const b = await train(many.path, "ppo", { rollout: { ...rollout, together: 8 } });
  expect(b.values).toEqual(a.values);
});

test("a reward that fails ends the run, and what was trained is saved", async () => {
  using folder = temporaryFolder();
  const path = join(folder.path, "rule.ts");
  writeFileSync(
    path,
    "let asked = 0; export const score = (m, answer) => { if (++asked > 45) throw new Error('no luck'); return answer.length }",
  );
  const notes: string[] = [];
  await expect(train(folder.path, "grpo", { rewards: [path] }, { notes })).rejects.toThrow("threw: no luck");
  const [saved] = notes.filter((note) => note.includes("what was trained is saved after step"));
  const step = Number(/step (\d+)/.exec(saved!)![1]);
  writeFileSync(path, "export const score = (m, answer) => answer.length");
  const more: string[] = [];
  await train(folder.path, "grpo", { rewards: [path] }, { notes: more });
  expect(more.join("\n")).toContain(`resuming after step ${step}`);
});

test("dynamic sampling asks no more prompts than it may, and fills the round up with others", async () => {
  using folder = temporaryFolder();
  const notes: string[] = [];
  const more = { rewards: ["regex:."], dynamicSampling: 1.25, optim: { lr: 1e-3, steps: 1 } };
  await train(folder.path, "grpo", more, { notes });
  // 4 prompts a round, and a quarter more; the rule gives every answer the same.
  expect(told(folder.path)[1]).toContain('"prompts_drawn":5,"groups_without_signal":5');
  expect(notes.join("\n")).toContain("of 5 prompts 0 had answers of different rewards");
});
