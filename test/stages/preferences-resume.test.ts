/** Stages over preferences, from records to checkpoints: interrupted and resumed they give the uninterrupted run, and the reference stays. */
import { expect, test } from "bun:test";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { scalarOf } from "../../src/formats/checkpoint";
import { modelOf } from "../../src/model/model";
import { initialise } from "../../src/model/parameters";
import { Slab } from "../../src/model/slab";
import type { Built, Context } from "../../src/stages/context";
import * as cpo from "../../src/stages/cpo";
import * as dpo from "../../src/stages/dpo";
import * as kto from "../../src/stages/kto";
import * as orpo from "../../src/stages/orpo";
import * as reward from "../../src/stages/reward";
import { trainCharacters } from "../../src/text/characters";
import { tokenizerFrom } from "../../src/text/tokenizer";
import { fit } from "../../src/train/fit";
import type { Training } from "../../src/train/settings";
import type { Stage } from "../../src/train/stage";
import { ownCacheFolder } from "../support/cache";
import { device, onEachDevice } from "../support/device";
import { temporaryFolder } from "../support/folder";

ownCacheFolder();

const records = Array.from({ length: 14 }, (_, i) => ({
  instruction: `what is ${"abcdefghijklmn"[i]}${"?".repeat(1 + (i % 5))}`,
  chosen: "nmlkjihgfedcba".slice(0, 2 + ((i * 7) % 11)),
  rejected: "abcabcabcabcabc".slice(0, 2 + ((i * 5) % 12)),
}));
const tokenizer = tokenizerFrom(trainCharacters([`\nabcdefghijklmnopqrstuvwxyz ?:UA<|>_S.${JSON.stringify(records)}`]));
const size = { type: "gpt2", vocabulary: tokenizer.size, context: 48, layers: 2, heads: 2, width: 32, epsilon: 1e-5 };

interface Kind {
  readonly schema: { parse(given: unknown): unknown };
  settings(config: never): Training;
  build(config: never, context: Context): Promise<Built>;
  readonly scored?: boolean;
}

const kinds: Readonly<Record<string, Kind>> = { dpo, kto, orpo, cpo, reward };

interface Trial {
  readonly signal?: AbortSignal;
  readonly change?: (stage: Stage) => Stage;
  readonly notes?: string[];
  /** Draws the model's values. */
  readonly seed?: number;
}

async function train(folder: string, kind: string, more: object, trial: Trial = {}): Promise<Float32Array> {
  const { schema, settings, build, scored = false } = kinds[kind]! as Kind;
  const { signal = new AbortController().signal, change = (stage) => stage, notes = [], seed = 1 } = trial;
  const path = join(folder, "data.jsonl");
  writeFileSync(path, records.map((record) => `${JSON.stringify(record)}\n`).join(""));
  const config = schema.parse({
    kind,
    data: path,
    validation: path,
    batch: { rows: 3, tokens: 40 },
    optim: { lr: 3e-3, steps: 6 },
    evaluate: { every: 3 },
    save: { every: 5 },
    logEvery: 1,
    ...more,
  });
  const plain = modelOf(size);
  const scalar = scored && !("lora" in more) ? modelOf(scalarOf(size)) : plain;
  using weights = new Slab(device(), scalar.parameters, { values: initialise(scalar.parameters, seed) });
  const console = { colour: false, note: (text: string) => notes.push(text), status() {}, done() {} };
  const open = async () => {
    const weights = new Slab(device(), plain.parameters, { values: initialise(plain.parameters, 1) });
    return { model: plain, weights, tokenizer, base: null, [Symbol.dispose]: () => weights[Symbol.dispose]() };
  };
  const context: Context = {
    device: device(),
    seed: 1,
    tokenizer,
    model: scalar,
    weights,
    base: "somebody/base",
    console,
    open,
    locate: async () => null,
    directory: ".",
    signal: new AbortController().signal,
    find: async (path) => path,
  };
  using stage = await build(config as never, context);
  const directory = join(folder, kind);
  mkdirSync(directory, { recursive: true });
  await fit(change(stage), {
    name: kind,
    device: device(),
    settings: settings(config as never),
    directory,
    console,
    signal,
  });
  return weights.download();
}

interface Line {
  readonly step: number;
  readonly tokens_per_second?: number;
}

function history(folder: string): Line[] {
  return readFileSync(join(folder, "metrics.jsonl"), "utf8")
    .trimEnd()
    .split("\n")
    .map((line) => {
      const { tokens_per_second: _, time: __, ...told } = JSON.parse(line) as Line & { readonly time?: unknown };
      return told;
    });
}

const lora = { rank: 4, targets: ["all-linear"] };

onEachDevice(() => {
  test.each<[string, string, object]>([
    ["dpo", "an adapter", { lora }],
    ["dpo", "an adapter, its reference live", { lora, precompute: false, shuffle: false }],
    ["dpo", "a reference that moves", { precompute: false, sync: { every: 2, share: 0.5 } }],
    ["kto", "an adapter", { lora }],
    ["orpo", "the whole model", {}],
    ["cpo", "the whole model, accumulated", { batch: { rows: 2, tokens: 40, accumulate: 2 } }],
    ["reward", "an adapter with its head", { lora, normalise: { samples: 6, tokens: 5 } }],
    ["reward", "the whole model", { normalise: { samples: 6, tokens: 5 } }],
  ])("%s, %s: after an interrupt it is the uninterrupted run bit for bit", async (kind, _name, config) => {
    using plain = temporaryFolder();
    using broken = temporaryFolder();
    await train(plain.path, kind, config);
    const controller = new AbortController();
    const change = (stage: Stage): Stage => ({
      ...stage,
      step(step, share) {
        if (step === 3) controller.abort();
        return stage.step(step, share);
      },
    });
    await train(broken.path, kind, config, { signal: controller.signal, change });
    await train(broken.path, kind, config);
    expect(history(join(broken.path, kind))).toEqual(history(join(plain.path, kind)));
    const files =
      "lora" in config ? ["adapter_model.safetensors", "adapter_config.json"] : ["model.safetensors", "config.json"];
    for (const file of files) {
      const saved = (folder: string) => readFileSync(join(folder, kind, "step-000006", file));
      expect(saved(broken.path)).toEqual(saved(plain.path));
    }
  });

  test("what an adapter is trained beside is its reference, and the same afterwards bit for bit", async () => {
    using folder = temporaryFolder();
    const before = initialise(modelOf(size).parameters, 1);
    expect(await train(folder.path, "dpo", { lora })).toEqual(before);
  });
});

test("the reference is computed once, kept by row, and computed again for what has changed", async () => {
  using cache = temporaryFolder();
  const shared = process.env.DAWNGRAD_CACHE;
  process.env.DAWNGRAD_CACHE = cache.path;
  const kept = async (given: object, seed = 1) => {
    using folder = temporaryFolder();
    const notes: string[] = [];
    await train(folder.path, "dpo", { optim: { steps: 1 }, ...given }, { notes, seed });
    return Number(notes.find((note) => note.includes("known from disk"))?.match(/(\d+) of/)?.[1] ?? 0);
  };
  // Validation asks for the same pairs again: each is computed once.
  expect(await kept({})).toBe(28);
  expect(await kept({})).toBe(56);
  expect(await kept({ batch: { rows: 2, tokens: 40 } })).toBe(56);
  // An answer that is cut is another row, and so is one whose tokens count differently.
  expect(await kept({ batch: { rows: 3, tokens: 37 } })).toBeLessThan(56);
  expect(await kept({ ldAlpha: 0.5 })).toBeLessThan(56);
  // Another model has other numbers, and leaves these alone.
  expect(await kept({}, 2)).toBe(28);
  expect(await kept({})).toBe(56);
  process.env.DAWNGRAD_CACHE = shared;
});
