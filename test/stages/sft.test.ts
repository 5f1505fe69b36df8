/** Fine-tuning: the same losses however rows are made up, exact resume, adapters that leave their base alone, and what is said before. */

import { beforeAll, describe, expect, test } from "bun:test";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Program } from "../../src/autograd/program";
import { dealOf } from "../../src/data/deal";
import { dealt, type Example, encodeSamples } from "../../src/data/examples";
import { batchArrays, fillBatch } from "../../src/data/layout";
import { loadSamples } from "../../src/data/samples";
import type { Reporter } from "../../src/log/console";
import { adapterOf, targeted } from "../../src/model/lora";
import { modelOf } from "../../src/model/model";
import { initialise, type Storage } from "../../src/model/parameters";
import { bitsPerWeight } from "../../src/model/quantised";
import { Slab } from "../../src/model/slab";
import { crossEntropy } from "../../src/ops/cross-entropy";
import { gather } from "../../src/ops/gather";
import { optimizerBytes } from "../../src/stages/memory";
import { build, schema, settings } from "../../src/stages/sft";
import { input } from "../../src/tensor/tensor";
import { trainCharacters } from "../../src/text/characters";
import { builtIn, chatTemplate, savedTemplate } from "../../src/text/template";
import { loadTokenizer, tokenizerFrom } from "../../src/text/tokenizer";
import { fit, type Outcome } from "../../src/train/fit";
import type { Stage } from "../../src/train/stage";
import { device, onEachDevice } from "../support/device";
import { temporaryFolder } from "../support/folder";

const records = Array.from({ length: 16 }, (_, i) => ({
  messages: [
    { role: "user", content: `what is ${"abcdefghijklmnop"[i]}${"?".repeat(1 + (i % 5))}` },
    { role: "assistant", content: "ponmlkjihgfedcba".slice(0, 1 + ((i * 7) % 13)) },
    ...(i % 4 === 0
      ? [
          { role: "user", content: "and?" },
          { role: "assistant", content: "z" },
        ]
      : []),
  ],
}));
const alphabet = "\nabcdefghijklmnopqrstuvwxyz ?:UA<|>_S.";
const tokenizer = tokenizerFrom(trainCharacters([alphabet + JSON.stringify(records)]));
const size = { type: "gpt2", vocabulary: tokenizer.size, context: 64, layers: 2, heads: 2, width: 32, epsilon: 1e-5 };
const shape = modelOf(size);
const values = initialise(shape.parameters, 1);

interface Trial {
  readonly config?: object;
  readonly storage?: Storage;
  readonly signal?: AbortSignal;
  readonly change?: (stage: Stage) => Stage;
  readonly notes?: string[];
  readonly given?: readonly object[];
  readonly from?: Float32Array;
}

interface Result {
  readonly outcome: Outcome;
  /** The base's values afterwards. */
  readonly base: Float32Array;
}

async function train(
  folder: string,
  {
    config = {},
    storage = "f32",
    signal = new AbortController().signal,
    change = (stage) => stage,
    notes = [],
    given = records,
    from = values,
  }: Trial = {},
): Promise<Result> {
  const path = join(folder, "data.jsonl");
  writeFileSync(path, given.map((record) => `${JSON.stringify(record)}\n`).join(""));
  const sft = schema.parse({
    kind: "sft",
    data: path,
    validation: path,
    batch: { rows: 4, tokens: 64 },
    optim: { lr: 3e-3, steps: 12 },
    evaluate: { every: 4 },
    save: { every: 5, keep: 2 },
    logEvery: 1,
    ...config,
  });
  const model = modelOf(size, storage);
  using weights = new Slab(device(), model.parameters, { values: from });
  const console: Reporter = { colour: false, note: (text) => notes.push(text), status() {}, done() {} };
  using stage = await build(sft, {
    device: device(),
    seed: 1,
    tokenizer,
    model,
    weights,
    base: "somebody/base",
    console,
    open: () => Promise.reject(new Error("it reads no other model")),
    locate: async () => null,
    directory: ".",
    signal: new AbortController().signal,
    find: async (path) => path,
  });
  const directory = join(folder, "sft");
  mkdirSync(directory, { recursive: true });
  const outcome = await fit(change(stage), {
    name: "sft",
    device: device(),
    settings: settings(sft),
    directory,
    console,
    signal,
  });
  return { outcome, base: weights.download() };
}

interface Line {
  readonly step: number;
  readonly loss?: number;
  readonly grad_norm?: number;
  readonly entropy?: number;
  readonly mean_token_accuracy?: number;
  readonly num_tokens?: number;
  readonly epoch?: number;
  readonly learning_rate?: number;
}

function history(folder: string): Line[] {
  const lines = readFileSync(join(folder, "sft", "metrics.jsonl"), "utf8")
    .trim()
    .split("\n");
  return lines.map((line) => {
    const { tokens_per_second: _, ...rest } = JSON.parse(line);
    return rest as Line;
  });
}

const training = (folder: string) => history(folder).filter(({ loss }) => loss !== undefined);
// Its rows are of two lengths: two micro-batches.
const whole = { batch: { rows: 16, tokens: 64, accumulate: 2 }, optim: { lr: 1e-3, steps: 3 } };

let examples: readonly Example[];
beforeAll(async () => {
  using folder = temporaryFolder();
  const path = join(folder.path, "data.jsonl");
  writeFileSync(path, records.map((record) => `${JSON.stringify(record)}\n`).join(""));
  const loaded = await loadSamples(path, { trees: { paths: "best", lang: "", quality: 0 }, strict: true });
  const template = chatTemplate(builtIn.chat!, tokenizer);
  examples = encodeSamples(loaded, { tokenizer, template, tokens: 64, cut: "open", strict: true }).examples;
});

/** The loss of every target, example by example, with rows made up so. */
function tokenLosses(rows: number, packing: boolean, tokens = 64): number[][] {
  const model = modelOf(size);
  using weights = new Slab(device(), model.parameters, { values });
  const plan = dealOf(examples.map(dealt), { rows, tokens, accumulate: 1, packing, shuffle: false, seed: 1 });
  const most = plan.mostTargets(plan.stepsPerEpoch);
  const losses: number[][] = examples.map(() => []);
  for (let step = 0; step < plan.stepsPerEpoch; step++) {
    for (const { graph, rows: filled } of plan.step(step).micro) {
      const length = plan.lengths[graph]!;
      const size = rows * length;
      const [tokens, positions, starts] = ["tokens", "positions", "starts"].map((name) => input(name, [size], "u32"));
      const [places, targets] = ["places", "targets"].map((name) => input(name, [most[graph]!], "u32"));
      const hidden = model.hidden(tokens!, positions!, { length, ...(packing && { starts: starts! }) });
      const each = crossEntropy(model.logits(gather(hidden, places!)), targets!);
      using program = new Program(device(), [each], { bind: weights.bind() });
      const into = batchArrays(rows, length, most[graph]!);
      into.tokens.fill(5); // whatever stands in the padding
      fillBatch(examples, filled, length, into);
      for (const [name, tensor] of Object.entries({ tokens, positions, places, targets, ...(packing && { starts }) }))
        program.feed(tensor!, into[name as keyof typeof into]);
      program.run();
      const got = program.read(each);
      let at = 0;
      for (const i of filled.flat()) losses[i]!.push(...got.subarray(at, (at += examples[i]!.targets)));
    }
  }
  return losses;
}

onEachDevice(() => {
  describe("the loss of every token", () => {
    const flat = (losses: number[][]) => losses.flat();
    test.each([
      ["in padded rows", () => tokenLosses(4, false)],
      ["in wide batches", () => tokenLosses(16, false)],
      ["packed", () => tokenLosses(4, true)],
      ["packed into one row", () => tokenLosses(1, true)],
      ["packed into shorter rows", () => tokenLosses(3, true, Math.max(...examples.map(({ ids }) => ids.length)))],
    ] as [string, () => number[][]][])("%s is that of each example alone", (_name, losses) => {
      const alone = flat(tokenLosses(1, false));
      const got = flat(losses());
      expect(got).toHaveLength(alone.length);
      expect(Math.max(...got.map((v, i) => Math.abs(v - alone[i]!)))).toBeLessThan(1e-5);
    });
  });

  describe("a step over all examples", () => {
    const runs: [string, object][] = [
      ["accumulated one by one", { batch: { rows: 1, tokens: 64, accumulate: 16 } }],
      ["accumulated in uneven parts", { batch: { rows: 3, tokens: 64, accumulate: 16 } }],
      ["packed", { batch: { rows: 16, tokens: 64 }, packing: true }],
      ["packed and accumulated", { batch: { rows: 2, tokens: 64, accumulate: 16 }, packing: true }],
      ["with recompute", { recompute: true }],
    ];
    test.each(runs)("%s has the same loss, norm and entropy, and trains the same", async (_name, more) => {
      using one = temporaryFolder();
      using other = temporaryFolder();
      await train(one.path, { config: whole });
      await train(other.path, { config: { ...whole, ...more } });
      const [wanted, got] = [training(one.path), training(other.path)];
      expect(got).toHaveLength(3);
      got.forEach((line, i) => {
        for (const name of ["loss", "grad_norm", "entropy", "mean_token_accuracy"] as const)
          expect(Math.abs(line[name]! - wanted[i]![name]!), `${name} of step ${i + 1}`).toBeLessThan(2e-5);
        expect(line.num_tokens).toBe(wanted[i]!.num_tokens!);
        expect(line.epoch).toBe(i + 1);
      });
    });
  });

  describe("resuming", () => {
    test.each([
      ["the whole model", {}],
      ["an adapter", { lora: { rank: 4, targets: ["all-linear", "head"], dropout: 0.2 } }],
      ["packed rows", { packing: true, dropout: 0.1 }],
    ])("%s after an interrupt gives the uninterrupted run bit for bit", async (_name, config) => {
      using plain = temporaryFolder();
      using broken = temporaryFolder();
      await train(plain.path, { config });
      const controller = new AbortController();
      const stop = (stage: Stage): Stage => ({
        ...stage,
        step(step, share) {
          if (step === 6) controller.abort();
          return stage.step(step, share);
        },
      });
      expect((await train(broken.path, { config, signal: controller.signal, change: stop })).outcome.reason).toBe(
        "interrupted",
      );
      await train(broken.path, { config });
      expect(history(broken.path)).toEqual(history(plain.path));
      const file = "lora" in config ? "adapter_model.safetensors" : "model.safetensors";
      const saved = (folder: string) => readFileSync(join(folder, "sft", "step-000012", file));
      expect(saved(broken.path)).toEqual(saved(plain.path));
    });
  });

  test("no two micro-batches drop the same", async () => {
    using folder = temporaryFolder();
    const seeds: number[] = [];
    const watch = (stage: Stage): Stage => ({
      ...stage,
      async *step(step, share) {
        for await (const batch of stage.step(step, share)) {
          seeds.push((batch.values.dropoutSeed as Uint32Array)[0]!);
          yield batch;
        }
      },
    });
    const config = { dropout: 0.1, batch: { rows: 4, tokens: 64, accumulate: 3 }, optim: { steps: 3 } };
    await train(folder.path, { config, change: watch });
    // An epoch has fewer micro-batches than its steps have room for.
    expect(seeds.length).toBeGreaterThan(6);
    expect(new Set(seeds).size).toBe(seeds.length);
  });

  test("going on with other data is refused, and nothing is changed", async () => {
    using folder = temporaryFolder();
    const short = { batch: { rows: 16, tokens: 64 }, optim: { steps: 1 } };
    await train(folder.path, { config: short });
    const before = readFileSync(join(folder.path, "sft", "checkpoints.json"), "utf8");
    const others = train(folder.path, { config: { ...short, optim: { steps: 2 } }, given: records.slice(1) });
    await expect(others).rejects.toThrow(/^the data that .*sft was trained on so far has changed$/);
    await others.catch(() => {});
    expect(readFileSync(join(folder.path, "sft", "checkpoints.json"), "utf8")).toBe(before);
    const { outcome } = await train(folder.path, { config: { ...short, optim: { steps: 2 } } });
    expect(outcome.reason).toBe("finished");
  });

  test("an adapter does not go on with another base", async () => {
    using folder = temporaryFolder();
    const config = { lora: { rank: 2 }, batch: { rows: 16, tokens: 64 }, optim: { steps: 1 } };
    await train(folder.path, { config });
    const more = { ...config, optim: { steps: 2 } };
    await expect(train(folder.path, { config: more, from: values.map((v) => 1.1 * v) })).rejects.toThrow(
      /^the base model that .*sft was trained on so far has changed$/,
    );
    expect((await train(folder.path, { config: more })).outcome.reason).toBe("finished");
  });

  test("one batch can be overfitted below 0.1", async () => {
    using folder = temporaryFolder();
    const config = {
      batch: { rows: 16, tokens: 64 },
      optim: { steps: 120, lr: 1e-2 },
      evaluate: { every: 1000 },
      logEvery: 40,
    };
    await train(folder.path, { config });
    const last = training(folder.path).at(-1)!;
    expect(last.loss!).toBeLessThan(0.1);
    expect(last.mean_token_accuracy!).toBeGreaterThan(0.95);
    expect(last.entropy!).toBeLessThan(0.3);
  });

  describe.each(["f32", "nf4", "int8", "bf16"] as const)("an adapter on a base in %s", (base) => {
    test("learns, leaves the base as it was, and is saved as PEFT does", async () => {
      using folder = temporaryFolder();
      const lora = { rank: 4, alpha: 8, dropout: 0, targets: ["all-linear", "head"], base };
      const config = {
        lora,
        batch: { rows: 16, tokens: 64 },
        optim: { steps: 40, lr: 3e-2 },
        evaluate: { every: 40 },
        save: { every: 40 },
      };
      const { base: after } = await train(folder.path, { config, storage: base });
      const model = modelOf(size, base);
      using before = new Slab(device(), model.parameters, { values });
      expect(after).toEqual(before.download());
      const lines = training(folder.path);
      expect(lines.at(-1)!.loss!).toBeLessThan(0.7 * lines[0]!.loss!);
      const saved = join(folder.path, "sft", "step-000040");
      const written = JSON.parse(readFileSync(join(saved, "adapter_config.json"), "utf8"));
      expect(written).toMatchObject({
        base_model_name_or_path: "somebody/base",
        r: 4,
        lora_alpha: 8,
        fan_in_fan_out: true,
      });
      expect(existsSync(join(saved, "model.safetensors"))).toBe(false);
      expect(savedTemplate(await loadTokenizer(saved))).toBe(builtIn.chat!);
    });
  });

  test("an adapter's first loss is the base's, exactly", async () => {
    using plain = temporaryFolder();
    using adapted = temporaryFolder();
    await train(plain.path, { config: whole });
    await train(adapted.path, { config: { ...whole, lora: { rank: 4, dropout: 0, targets: ["all-linear", "head"] } } });
    expect(training(adapted.path)[0]!.loss).toBe(training(plain.path)[0]!.loss!);
  });
});

describe("before the first step", () => {
  test("it is said what became of the records, what is trained, and what the loss should be", async () => {
    using folder = temporaryFolder();
    const notes: string[] = [];
    await train(folder.path, { notes, config: { optim: { steps: 1 } } });
    const text = notes.join("\n");
    expect(text).toMatch(/data\.jsonl \(messages\): 16 records read, 16 examples$/m);
    expect(text).toMatch(
      /16 examples in 5 steps an epoch, 16 held out; \d+ of \d+ tokens are trained \(\d+%\); end token trained: yes/,
    );
    // A model of random weights guesses.
    const told = new RegExp(
      `step 0: loss (\\d+\\.\\d{4}) .* should be well below ${Math.log(tokenizer.size).toFixed(2)}, .*, and is (.*):`,
    );
    const [, loss, how] = text.match(told)!;
    expect(how).toBe(Number(loss) < Math.log(tokenizer.size) ? "hardly so" : "not");
    expect(text).toContain("  | User: what is a?\n  | Assistant:« p<|endoftext|>»\n  | User: and?\n");
  });
});

describe("what cannot be done is refused with one sentence", () => {
  const refusal = async (config: object): Promise<string> => {
    using folder = temporaryFolder();
    try {
      await train(folder.path, { config });
    } catch (error) {
      return (error as Error).message;
    }
    return "";
  };
  test.each([
    [{ lora: { targets: ["nothing"] } }, "lora.targets names no layer: nothing"],
    [{ lora: { targets: ["head"], dora: true } }, "lora.dora does not go with the head"],
    [{ batch: { tokens: 65 } }, "batch.tokens is 65, and the model's context is 64"],
    [{ samples: { every: 1, prompts: ["long ".repeat(80)] } }, "tokens, and the model's context is 64"],
    [{ template: "nosuch" }, "there is no chat template nosuch"],
    [{ template: "test" }, "the chat template test cannot be read: it is a folder"],
    [{ batch: { tokens: 8 } }, "no example is left"],
    [{ batch: { tokens: 35 }, strict: true }, "tokens, and 35 are allowed"],
    [{ format: "alpaca" }, "no record that can be used as alpaca"],
  ])("%j", async (config, message) => {
    expect(await refusal(config)).toContain(message);
  });
});

test("names and defaults are TRL's", () => {
  const parsed = schema.parse({ kind: "sft", data: "x" });
  expect(settings(parsed).optim).toMatchObject({
    lr: 2e-5,
    schedule: "linear",
    warmup: 0,
    beta2: 0.999,
    weightDecay: 0,
    clip: 1,
  });
  expect(settings(schema.parse({ kind: "sft", data: "x", lora: {} })).optim.lr).toBe(2e-4);
  expect(parsed).toMatchObject({ epochs: 3, packing: false, batch: { rows: 8, accumulate: 1 } });
  expect(schema.parse({ kind: "sft", data: "x", lora: {} }).lora).toMatchObject({
    rank: 16,
    alpha: 32,
    dropout: 0.05,
    targets: ["attn.c_attn"],
  });
});

test("a LoRA adapter of rank 8 needs less than a tenth of the optimizer's memory, and nf4 at most 4.6 bits a weight", () => {
  const micro = modelOf({
    type: "gpt2",
    vocabulary: 640,
    context: 256,
    layers: 2,
    heads: 4,
    width: 128,
    epsilon: 1e-5,
  });
  const lora = { rank: 8, alpha: 16, dropout: 0, rslora: false, dora: false };
  const adapter = adapterOf(targeted(micro.modules, ["all-linear", "head"]), lora);
  expect(optimizerBytes(adapter.parameters) / optimizerBytes(micro.parameters)).toBeLessThan(0.1);
  const linear = modelOf(micro.config, "nf4").parameters.list.filter(({ role }) => role === "linear");
  const bits =
    linear.reduce((sum, { sizeBytes }) => sum + 8 * sizeBytes, 0) / linear.reduce((sum, { size }) => sum + size, 0);
  expect(bits).toBeLessThan(4.6);
  expect(bitsPerWeight([2304, 768], "nf4")).toBeLessThan(4.134);
});
