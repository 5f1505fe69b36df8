/** Fine-tuning against TRL's own SFTTrainer: what it logs of four steps on a small model (test/golden/trl_sft.py). */

import { describe, expect, test } from "bun:test";
import { dealOf } from "../../src/data/deal";
import type { Example } from "../../src/data/examples";
import { batchArrays, fillBatch } from "../../src/data/layout";
import { loadModel } from "../../src/formats/checkpoint";
import { adapterOf, targeted } from "../../src/model/lora";
import { withAdapters } from "../../src/model/model";
import { Slab } from "../../src/model/slab";
import { AdamW } from "../../src/optim/adamw";
import { learningRate } from "../../src/optim/schedule";
import { answerGraph, valuesOf } from "../../src/stages/answers";
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
  using optimizer = new AdamW(device(), [{ weights: trained }], {
    beta1: 0.9,
    beta2: 0.999,
    epsilon: 1e-8,
    weightDecay: 0,
    clip: 1,
  });
  const plan = dealOf(examples, { rows, tokens: 12, accumulate: 64, packing, shuffle: false, seed: 1 });
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
  for (let step = 0; step < 4; step++) {
    optimizer.zero();
    const { micro, targets } = plan.step(step);
    for (const { graph: at, rows } of micro) {
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
    logged.push({ loss, entropy, mean_token_accuracy: accuracy, grad_norm: norm });
  }
  for (const { program } of compiled) program[Symbol.dispose]();
  return logged;
}

onEachDevice(() => {
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
          expect(
            Math.abs(got[step]![name] - line[name]) / Math.max(1e-3, line[name]),
            `${name} of step ${step}`,
          ).toBeLessThan(2e-4);
      });
    });
  });
});

test("TRL's own accumulated run has the same losses", () => {
  golden.accumulated.forEach(({ loss, grad_norm }, i) => {
    expect(loss).toBeCloseTo(golden.whole[i]!.loss, 5);
    expect(grad_norm).toBeCloseTo(golden.whole[i]!.grad_norm, 4);
  });
});
