/** Fine-tuning against TRL's own SFTTrainer: what it logs of four steps on a small model (test/golden/trl_sft.py). */

import { describe, expect, test } from "bun:test";
import { Scratch } from "../../src/autograd/scratch";
import { dealOf } from "../../src/data/deal";
import { dealt, type Example } from "../../src/data/examples";
import { batchArrays, fillBatch } from "../../src/data/layout";
import { loadModel } from "../../src/formats/checkpoint";
import { adapterOf, targeted } from "../../src/model/lora";
import { withAdapters } from "../../src/model/model";
import { Slab } from "../../src/model/slab";
import { Optimizer } from "../../src/optim/optimizer";
import { learningRate } from "../../src/optim/schedule";
import { answerGraph, heldOutLoss, valuesOf } from "../../src/stages/answers";
import { trainingProgram } from "../../src/train/program";
import golden from "../golden/trl_sft.json";
import { device, onEachDevice } from "../support/device";

const examples: Example[] = golden.rows.map(({ input_ids, completion_mask }, i) => ({
  ids: Uint32Array.from(input_ids),
  trained: Uint8Array.from(completion_mask),
  targets: completion_mask.reduce((sum, flag) => sum + flag, 0),
  where: `row ${i}`,
}));

interface Logged {
  readonly loss: number;
  readonly entropy: number;
  readonly mean_token_accuracy: number;
  readonly grad_norm: number;
  readonly num_tokens: number;
}

interface Options {
  readonly rows: number;
  readonly packing: boolean;
  readonly lora: boolean;
  readonly dft?: boolean;
}

/** Four steps over all examples, with the optimizer of the golden script. */
async function run({ rows, packing, lora, dft = false }: Options): Promise<Logged[]> {
  const { model: base, weights } = await loadModel(device(), "test/golden/layouts/transformers");
  using _base = weights;
  const settings = { rank: 4, alpha: 8, dropout: 0, rslora: false, dora: false };
  const adapter = adapterOf(targeted(base.modules, ["c_attn", "c_fc"]), settings);
  const first = new Float32Array(adapter.parameters.size);
  for (const { name, offset, size } of adapter.parameters.list)
    if (name.endsWith("lora_A.weight")) for (let i = 0; i < size; i++) first[offset + i] = 0.2 * Math.sin(0.37 * i);
  using slab = new Slab(device(), adapter.parameters, { values: first });
  const model = lora ? withAdapters(base, [adapter]) : base;
  const trained = lora ? slab : weights;
  using optimizer = new Optimizer(device(), [{ weights: trained }], {
    beta1: 0.9,
    beta2: 0.999,
    epsilon: 1e-8,
    weightDecay: 0,
    clip: 1,
  });
  const plan = dealOf(examples.map(dealt), { rows, tokens: 12, accumulate: 64, packing, shuffle: false, seed: 1 });
  const most = plan.mostTargets(1);
  const compiled = plan.lengths.map((length, i) => {
    const graph = answerGraph(model, { rows, length, targets: most[i]!, packing, dft });
    const program = trainingProgram(device(), graph, {
      trained: [{ weights: trained }],
      frozen: lora ? [weights] : [],
      optimizer,
    });
    return { graph, program, arrays: batchArrays(rows, length, most[i]!), length };
  });
  const logged: Logged[] = [];
  let num_tokens = 0;
  for (let step = 0; step < 4; step++) {
    optimizer.zero();
    const { micro, targets } = plan.step(step);
    for (const { graph: at, rows, tokens } of micro) {
      num_tokens += tokens;
      const { graph, program, arrays, length } = compiled[at]!;
      fillBatch(examples, rows, length, arrays);
      const values = { ...valuesOf(arrays, packing), weight: new Float32Array([1 / targets]) };
      for (const [name, value] of Object.entries(values)) program.feed(graph.inputs[name]!, value);
      program.run();
    }
    const schedule = { kind: "linear", lr: 1e-2, steps: 4, warmup: 0, floor: 0, decay: 0 } as const;
    optimizer.update(learningRate(schedule, step), step);
    const { norm, sums } = optimizer.read();
    const told = (name: string) => sums[compiled[0]!.graph.metrics.indexOf(name)]!;
    const [loss, entropy, accuracy] = [told("loss"), told("entropy"), told("mean_token_accuracy")];
    logged.push({ loss, entropy, mean_token_accuracy: accuracy, grad_norm: norm, num_tokens });
  }
  for (const { program } of compiled) program[Symbol.dispose]();
  return logged;
}

onEachDevice(() => {
  const close = (got: number, wanted: number, what: string) =>
    expect(Math.abs(got - wanted) / Math.max(1e-3, Math.abs(wanted)), what).toBeLessThan(2e-4);

  describe.each([
    ["the whole model, one batch", { rows: 6, packing: false, lora: false }, golden.whole],
    ["the whole model, one row at a time", { rows: 1, packing: false, lora: false }, golden.whole],
    ["the whole model, packed", { rows: 2, packing: true, lora: false }, golden.whole],
    ["an adapter", { rows: 6, packing: false, lora: true }, golden.lora],
    ["weighted by probability", { rows: 6, packing: false, lora: false, dft: true }, golden.dft],
    ["weighted by probability, packed", { rows: 2, packing: true, lora: false, dft: true }, golden.dft],
    ["an adapter, packed", { rows: 2, packing: true, lora: true }, golden.lora],
  ])("%s", (_name, options, wanted) => {
    test("logs TRL's losses, gradient norms, entropies and accuracies", async () => {
      const got = await run(options);
      wanted.forEach((line, step) => {
        for (const name of ["loss", "entropy", "mean_token_accuracy", "grad_norm"] as const)
          close(got[step]![name], line[name], `${name} of step ${step}`);
        expect(got[step]!.num_tokens).toBe(line.num_tokens);
      });
    });
  });

  // Entropy and accuracy are means over tokens here, and means of its micro-batches' means in TRL.
  test.each([1, 2, 4])(
    "%i rows at a time, accumulated, log the losses and norms of TRL's accumulated run",
    async (rows) => {
      const got = await run({ rows, packing: false, lora: false });
      expect(got).toHaveLength(golden.accumulated.length);
      golden.accumulated.forEach(({ loss, grad_norm, num_tokens }, step) => {
        close(got[step]!.loss, loss, `loss of step ${step}`);
        close(got[step]!.grad_norm, grad_norm, `norm of step ${step}`);
        expect(got[step]!.num_tokens).toBe(num_tokens);
      });
    },
  );

  test("what is held out has TRL's loss before the first step, and batches chosen of it their own", async () => {
    const { model, weights } = await loadModel(device(), "test/golden/layouts/transformers");
    using slab = weights;
    using scratch = new Scratch(device());
    const heldOut = async (held: readonly Example[], rows: number, batches: number) => {
      using measured = heldOutLoss(device(), { model, slabs: [slab] }, { held, scratch, rows, length: 12, batches });
      return measured.loss();
    };
    for (const rows of [1, 4]) close((await heldOut(examples, rows, 100))!, golden.whole[0]!.loss, `${rows} rows`);
    // Two of six batches of one row, spread evenly: the middle ones of either half.
    close((await heldOut(examples, 1, 2))!, (await heldOut([examples[1]!, examples[4]!], 2, 1))!, "two of six");
  });
});
