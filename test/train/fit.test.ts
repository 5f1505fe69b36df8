/** The training loop: resume, accumulation, overfitting, early stopping, checkpoints, and steps that are not finite. */

import { describe, expect, test } from "bun:test";
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { modelDirectory, openModel } from "../../src/app/model";
import { Program } from "../../src/autograd/program";
import { type BatchShape, evenWindows, windowOf } from "../../src/data/batches";
import { modelOf } from "../../src/model/model";
import { initialise } from "../../src/model/parameters";
import { Slab } from "../../src/model/slab";
import { lossAsEvaluation } from "../../src/stages/answers";
import type { Built } from "../../src/stages/context";
import { build, type PretrainConfig, schema } from "../../src/stages/pretrain";
import { input } from "../../src/tensor/tensor";
import { trainCharacters } from "../../src/text/characters";
import { tokenizerFrom } from "../../src/text/tokenizer";
import { fit, type Outcome } from "../../src/train/fit";
import { lockFolder } from "../../src/train/lock";
import type { Stage } from "../../src/train/stage";
import { silent } from "../support/console";
import { device, onEachDevice } from "../support/device";
import { watchDisk } from "../support/disk";
import { temporaryFolder } from "../support/folder";

const text = "the quick brown fox jumps over the lazy dog. ".repeat(40);
const tokenizer = tokenizerFrom(trainCharacters([text]));
process.env.DAWNGRAD_CACHE = join(process.env.TMPDIR ?? "/tmp", `dawngrad-test-cache-${process.pid}`);

interface Options {
  readonly config?: object;
  readonly signal?: AbortSignal;
  /** A head with a table of its own. */
  readonly untied?: boolean;
  /** Changes the stage before it is trained. */
  readonly change?: (stage: Built) => Stage;
  readonly note?: (line: string) => void;
}

/** Trains a small model on a short text in `folder`. */
async function train(
  folder: string,
  {
    config = {},
    signal = new AbortController().signal,
    untied = false,
    change = (stage) => stage,
    note = () => {},
  }: Options = {},
): Promise<Outcome> {
  const path = join(folder, "text.txt");
  writeFileSync(path, text);
  const settings: PretrainConfig = schema.parse({
    kind: "pretrain",
    data: path,
    batch: { rows: 4, tokens: 16 },
    optim: { steps: 12, lr: 3e-3, warmup: 2 },
    evaluate: { every: 4, batches: 2 },
    save: { every: 5, keep: 2 },
    logEvery: 1,
    dropout: 0.1,
    ...config,
  });
  const model = modelOf({
    type: "gpt2",
    vocabulary: tokenizer.size,
    context: 32,
    layers: 2,
    heads: 2,
    width: 32,
    epsilon: 1e-5,
    ...(untied && { tied: false }),
  });
  using weights = new Slab(device(), model.parameters, { values: initialise(model.parameters, 1) });
  using stage = await build(settings, {
    device: device(),
    seed: 1,
    tokenizer,
    model,
    weights,
    console: silent,
    open: () => Promise.reject(new Error("it reads no other model")),
    locate: async () => null,
    directory: ".",
    signal: new AbortController().signal,
    find: async (path) => path,
    base: null,
  });
  const directory = join(folder, "stage");
  mkdirSync(directory, { recursive: true });
  const console = { ...silent, note };
  return await fit(change(stage), { name: "pretrain", device: device(), settings, directory, console, signal });
}

/** What the loss of evenly spaced windows of the text's last tenth means, worked out from the logits in float64. */
function meanLoss({ model, trained: [slab] }: Built, shape: BatchShape, count: number): number {
  const size = shape.rows * shape.tokens;
  const [ids, positions] = [input("ids", [size], "u32"), input("positions", [size], "u32")];
  const logits = model.logits(model.hidden(ids, positions, { length: shape.tokens }));
  using program = new Program(device(), [logits], { bind: slab!.weights.bind() });
  program.feed(
    positions,
    Uint32Array.from({ length: size }, (_, i) => i % shape.tokens),
  );
  const held = Uint16Array.from(tokenizer.encode(text)).subarray(Math.round(0.9 * text.length));
  const losses: number[] = [];
  for (let index = 0; index < count; index++) {
    const into = windowOf(shape);
    evenWindows(held, shape, { index, count, into });
    program.feed(ids, into.tokens);
    program.run();
    const read = program.read(logits);
    into.targets.forEach((target, row) => {
      const scores = read.subarray(row * tokenizer.size, (row + 1) * tokenizer.size);
      losses.push(Math.log(scores.reduce((sum, v) => sum + Math.exp(v), 0)) - scores[target]!);
    });
  }
  return losses.reduce((sum, loss) => sum + loss, 0) / losses.length;
}

interface Line {
  readonly step: number;
  readonly loss?: number;
  readonly grad_norm?: number;
  readonly validation_loss?: number;
  readonly num_tokens?: number;
  readonly learning_rate?: number;
  readonly epoch?: number;
}

/** What the metrics file says of each step, without the speed. */
function history(folder: string): Line[] {
  const lines = readFileSync(join(folder, "stage", "metrics.jsonl"), "utf8")
    .trim()
    .split("\n");
  return lines.map((line) => {
    const { tokens_per_second: _, ...rest } = JSON.parse(line);
    return rest as Line;
  });
}

/** A stage that is interrupted in its n-th step, as by Ctrl-C. */
const interruptedAt =
  (n: number, controller: AbortController) =>
  (stage: Stage): Stage => ({
    ...stage,
    async *step(step, share) {
      for await (const batch of stage.step(step, share)) {
        if (step + 1 === n) controller.abort();
        yield batch;
      }
    },
  });

const slabOf = (folder: string, step: string) => readFileSync(join(folder, "stage", step, "model.safetensors"));

onEachDevice(() => {
  describe("resuming", () => {
    test.each([1, 4, 7, 10])("after an interrupt in step %i gives the uninterrupted run bit for bit", async (at) => {
      using whole = temporaryFolder();
      using broken = temporaryFolder();
      await train(whole.path);
      const controller = new AbortController();
      const first = await train(broken.path, { signal: controller.signal, change: interruptedAt(at, controller) });
      expect(first).toMatchObject({ reason: "interrupted", progress: { step: at } });
      expect((await train(broken.path)).reason).toBe("finished");
      expect(history(broken.path)).toEqual(history(whole.path));
      expect(slabOf(broken.path, "step-000012")).toEqual(slabOf(whole.path, "step-000012"));
    });

    test("by other instructions than before says so, and by the same says nothing", async () => {
      using folder = temporaryFolder();
      const controller = new AbortController();
      await train(folder.path, { signal: controller.signal, change: interruptedAt(7, controller) });
      const notes: string[] = [];
      const goOn = () => {
        const again = new AbortController();
        again.abort();
        return train(folder.path, { signal: again.signal, note: (line) => notes.push(line) });
      };
      await goOn();
      expect(notes).toEqual(["pretrain: resuming after step 7"]);
      const path = join(folder.path, "stage", "step-000008", "training.json");
      const saved = readFileSync(path, "utf8");
      const { arithmetic } = device().info;
      expect(JSON.parse(saved)).toMatchObject({ arithmetic });
      writeFileSync(path, saved.replace(JSON.stringify(arithmetic), '"an abacus"'));
      await goOn();
      expect(notes.slice(1)).toEqual([
        "pretrain: resuming after step 8",
        `pretrain: trained by an abacus so far, going on by ${arithmetic}: last digits may differ`,
      ]);
    });

    test("of a head with a table of its own has both of its moments", async () => {
      using whole = temporaryFolder();
      using broken = temporaryFolder();
      await train(whole.path, { untied: true });
      const controller = new AbortController();
      const change = interruptedAt(7, controller);
      await train(broken.path, { untied: true, signal: controller.signal, change });
      await train(broken.path, { untied: true });
      expect(slabOf(broken.path, "step-000012")).toEqual(slabOf(whole.path, "step-000012"));
    });

    test("after a crash goes on from the last checkpoint and drops the steps past it", async () => {
      using whole = temporaryFolder();
      using broken = temporaryFolder();
      await train(whole.path);
      const crash = (stage: Stage): Stage => ({
        ...stage,
        step(step, share) {
          if (step === 7) throw new Error("crash");
          return stage.step(step, share);
        },
      });
      await expect(train(broken.path, { change: crash })).rejects.toThrow("crash");
      await Bun.sleep(0);
      expect(history(broken.path).at(-1)!.step).toBe(7);
      await train(broken.path);
      expect(history(broken.path)).toEqual(history(whole.path));
    });

    test("a finished run does nothing", async () => {
      using folder = temporaryFolder();
      await train(folder.path);
      const before = history(folder.path);
      expect((await train(folder.path)).reason).toBe("finished");
      expect(history(folder.path)).toEqual(before);
    });
  });

  test("two half batches accumulated equal one, and count as many tokens", async () => {
    using one = temporaryFolder();
    using two = temporaryFolder();
    await train(one.path, { config: { batch: { rows: 4, tokens: 16 }, dropout: 0 } });
    await train(two.path, { config: { batch: { rows: 2, tokens: 16, accumulate: 2 }, dropout: 0 } });
    const lines = (folder: string) => history(folder).filter(({ loss }) => loss !== undefined);
    const [whole, halves] = [lines(one.path), lines(two.path)];
    expect(whole).toHaveLength(12);
    whole.forEach(({ loss }, i) => {
      expect(halves[i]!.loss!).toBeCloseTo(loss!, 4);
      const read = 4 * 16 * (i + 1);
      for (const line of [whole[i]!, halves[i]!]) {
        expect(line.num_tokens).toBe(read);
        expect(line.epoch!).toBeCloseTo(read / Math.round(0.9 * text.length), 10);
      }
    });
  });

  test("one batch can be overfitted below 0.1", async () => {
    using folder = temporaryFolder();
    const same = (stage: Stage): Stage => ({
      ...stage,
      step: (_step, share) => stage.step(0, share),
    });
    await train(folder.path, {
      config: {
        optim: { steps: 150, lr: 1e-2, schedule: "constant" },
        dropout: 0,
        evaluate: { every: 1000 },
        logEvery: 50,
      },
      change: same,
    });
    expect(history(folder.path).findLast(({ loss }) => loss !== undefined)!.loss!).toBeLessThan(0.1);
  });

  test("training stops early when the validation loss no longer falls, and the best checkpoint is used", async () => {
    using folder = temporaryFolder();
    const losses = [3, 2, 2.5, 2.4, 2.3];
    const outcome = await train(folder.path, {
      config: { optim: { steps: 100, lr: 1e-3 }, evaluate: { every: 2, patience: 2 }, save: { every: 50, keep: 1 } },
      change: (stage) => ({ ...stage, evaluate: async () => lossAsEvaluation(losses.shift()!) }),
    });
    expect(outcome).toMatchObject({
      reason: "stopped early",
      progress: { step: 8, best: { step: 4, score: -2, values: { validation_loss: 2 } } },
    });
    expect(modelDirectory(join(folder.path, "stage"))).toBe(join(folder.path, "stage", "step-000004"));
    expect((await train(folder.path, { config: { optim: { steps: 100, lr: 1e-3 } } })).reason).toBe("finished");
  });

  test("the best is the first of equals, and every step has the learning rate of its place", async () => {
    using folder = temporaryFolder();
    const outcome = await train(folder.path, {
      config: { optim: { steps: 12, lr: 1e-3, warmup: 2, schedule: "linear", floor: 0 } },
      change: (stage) => ({ ...stage, evaluate: async () => lossAsEvaluation(2) }),
    });
    expect(outcome.progress).toMatchObject({ worse: 2, best: { step: 4 } });
    const rates = history(folder.path).flatMap(({ learning_rate: rate }) => (rate === undefined ? [] : [rate]));
    const wanted = [0.5, 1, ...Array.from({ length: 10 }, (_, i) => 1 - i / 10)].map((share) => 1e-3 * share);
    expect(rates).toHaveLength(12);
    rates.forEach((rate, i) => {
      expect(rate).toBeCloseTo(wanted[i]!, 10);
    });
  });

  test("patience counts on where a run was interrupted", async () => {
    using folder = temporaryFolder();
    const config = {
      optim: { steps: 100, lr: 1e-3 },
      evaluate: { every: 2, patience: 2 },
      save: { every: 50, keep: 1 },
    };
    const losses = [3, 2, 2.5, 2.4, 2.3];
    const measured = (stage: Stage): Stage => ({ ...stage, evaluate: async () => lossAsEvaluation(losses.shift()!) });
    const controller = new AbortController();
    const stopped = interruptedAt(7, controller);
    const change = (stage: Stage) => stopped(measured(stage));
    const first = await train(folder.path, { config, signal: controller.signal, change });
    expect(first).toMatchObject({ reason: "interrupted", progress: { step: 7, worse: 1, best: { step: 4 } } });
    const second = await train(folder.path, { config, change: measured });
    expect(second).toMatchObject({ reason: "stopped early", progress: { step: 8, worse: 2, best: { step: 4 } } });
  });

  test("the validation loss is the mean over its windows' tokens, without dropout", async () => {
    using folder = temporaryFolder();
    const shape = { rows: 3, tokens: 16 };
    const pairs: (readonly [got: number, wanted: number])[] = [];
    const compared = (stage: Built): Stage => ({
      ...stage,
      async evaluate(signal) {
        const found = await stage.evaluate(signal);
        pairs.push([found!.values.validation_loss!, meanLoss(stage, shape, 2)]);
        return found;
      },
    });
    await train(folder.path, { config: { batch: shape }, change: compared });
    expect(pairs).toHaveLength(3);
    for (const [got, wanted] of pairs) expect(got).toBeCloseTo(wanted, 5);
  });

  describe("checkpoints", () => {
    test("keep the last ones and the best, and are model directories", async () => {
      using folder = temporaryFolder();
      await train(folder.path, {
        config: { save: { every: 1, keep: 2 }, evaluate: { every: 3 } },
        change: ((losses) => (stage: Stage) => ({ ...stage, evaluate: async () => lossAsEvaluation(losses.shift()!) }))(
          [1, 2, 3, 4],
        ),
      });
      const steps = readdirSync(join(folder.path, "stage")).filter((name) => name.includes("step"));
      expect(steps.sort()).toEqual(["step-000003", "step-000011", "step-000012"]);
      using opened = await openModel(device(), join(folder.path, "stage", "step-000012"));
      expect(opened.tokenizer.decode(opened.tokenizer.encode("the dog"))).toBe("the dog");
      const config = JSON.parse(readFileSync(join(folder.path, "stage", "step-000012", "config.json"), "utf8"));
      expect(config).toMatchObject({
        model_type: "gpt2",
        n_layer: 2,
        n_embd: 32,
        vocab_size: tokenizer.size,
        activation_function: "gelu_new",
      });
    });

    test("are on the disk before checkpoints.json names them, and older ones go last", async () => {
      using folder = temporaryFolder();
      const directory = join(folder.path, "stage");
      mkdirSync(directory);
      const [remains, another] = [".step-000003.17-0123456789ab.tmp", "step-notes.tmp"];
      for (const name of [remains, another]) mkdirSync(join(directory, name));
      using disk = watchDisk();
      await train(folder.path, { config: { save: { every: 4, keep: 1 }, evaluate: { every: 100 } } });
      const told = disk.events.flatMap(({ what, path, to = path }) =>
        what === "sync" || dirname(to) !== directory || to.endsWith(".tmp") ? [] : [`${what} ${basename(to)}`],
      );
      expect(told).toEqual([
        ...["rename step-000004", "rename checkpoints.json"],
        ...["rename step-000008", "rename checkpoints.json", "remove step-000004"],
        ...["rename step-000012", "rename checkpoints.json", "remove step-000008"],
      ]);
      const last = disk.events.findIndex(({ to }) => to === join(directory, "step-000012"));
      const { path } = disk.events[last]!;
      const synced = disk.events.slice(0, last).filter(({ what }) => what === "sync");
      for (const file of readdirSync(join(directory, "step-000012"))) {
        const { size } = statSync(join(directory, "step-000012", file));
        expect(synced).toContainEqual({ what: "sync", path: join(path, file), size });
      }
      // What a crash left behind is removed, and nothing else.
      expect(readdirSync(directory).filter((name) => name.endsWith(".tmp"))).toEqual([another]);
    });

    test("that a process did not come to remove go when the run is found finished", async () => {
      using folder = temporaryFolder();
      const config = { save: { every: 4, keep: 1 }, evaluate: { every: 100 } };
      await train(folder.path, { config });
      const directory = join(folder.path, "stage");
      cpSync(join(directory, "step-000012"), join(directory, "step-000004"), { recursive: true });
      await train(folder.path, { config });
      expect(readdirSync(directory).filter((name) => name.startsWith("step-"))).toEqual(["step-000012"]);
    });

    test("a full disk leaves the previous one whole, and the run can go on", async () => {
      using whole = temporaryFolder();
      using folder = temporaryFolder();
      await train(whole.path);
      let saves = 0;
      const full = (stage: Stage): Stage => ({
        ...stage,
        async write(directory) {
          await stage.write(directory);
          if (++saves === 2) throw Object.assign(new Error("ENOSPC: no space left on device"), { code: "ENOSPC" });
        },
      });
      await expect(train(folder.path, { change: full })).rejects.toThrow(
        "the checkpoint of step 5 could not be saved: the disk is full",
      );
      await Bun.sleep(0);
      const left = readdirSync(join(folder.path, "stage"));
      expect(left.filter((name) => name.includes("step"))).toEqual(["step-000004"]);
      await train(folder.path);
      expect(history(folder.path)).toEqual(history(whole.path));
    });

    test("of another shape are refused by tensor", async () => {
      using folder = temporaryFolder();
      await train(folder.path);
      const at = join(folder.path, "stage", "step-000012", "config.json");
      writeFileSync(at, readFileSync(at, "utf8").replace('"n_embd": 32', '"n_embd": 64'));
      await expect(openModel(device(), join(folder.path, "stage", "step-000012"))).rejects.toThrow(
        /wte\.weight has shape \[\d+,32\], expected \[\d+,64\]/,
      );
    });
  });

  test("a step that is not finite stops the run, says which and why, and keeps the last good checkpoint", async () => {
    using folder = temporaryFolder();
    const spoil = (stage: Stage): Stage => ({
      ...stage,
      async *step(step, share) {
        for await (const batch of stage.step(step, share)) {
          const weight = new Float32Array([step === 6 ? Number.NaN : 1 / 64]);
          yield { ...batch, values: { ...batch.values, weight } };
        }
      },
    });
    const run = train(folder.path, { config: { logEvery: 3 }, change: spoil });
    await expect(run).rejects.toThrow(
      /step 7 is not finite: the loss is NaN; gradients of 28 of 28 tensors are not finite/,
    );
    await run.catch(() => {});
    expect(existsSync(join(folder.path, "stage", "step-000005"))).toBe(true);
  });

  describe("a run folder", () => {
    test("is locked while a process uses it, and free afterwards", () => {
      using folder = temporaryFolder();
      {
        using _lock = lockFolder(folder.path);
        expect(() => lockFolder(folder.path)).toThrow(`is in use by process ${process.pid}`);
      }
      using _again = lockFolder(folder.path);
      expect(existsSync(join(folder.path, "lock"))).toBe(true);
    });
    test("that cannot be written is refused with one sentence", () => {
      using folder = temporaryFolder();
      writeFileSync(join(folder.path, "file"), "");
      expect(() => lockFolder(join(folder.path, "file", "run"))).toThrow(/cannot be written/);
    });
  });
});
