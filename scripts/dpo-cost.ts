/**
 * What a step of DPO on a pair costs beside a step of supervised fine-tuning on the same two rows: GPT-2's shape, the reference's
 * numbers known, the two in turn, and the median of their ratios. Arguments: the device (cpu), pairs, tokens of a row, times.
 */
import { Scratch } from "../src/autograd/scratch";
import type { Example } from "../src/data/examples";
import { batchArrays, fillBatch } from "../src/data/layout";
import { openDevice } from "../src/device/open";
import { presets } from "../src/model/architectures";
import { modelOf } from "../src/model/model";
import { initialise } from "../src/model/parameters";
import { Slab } from "../src/model/slab";
import { Optimizer } from "../src/optim/optimizer";
import { answerGraph, valuesOf } from "../src/stages/answers";
import { objectiveOf, schema } from "../src/stages/dpo";
import { pairFeeding } from "../src/stages/pairs";
import { trainingProgram } from "../src/train/program";

const [kind = "cpu", given = "1", tokens = "256", times = "5"] = process.argv.slice(2);
const [pairs, length] = [Number(given), Number(tokens)];
using device = openDevice(kind);
const model = modelOf({ ...presets.gpt2!, vocabulary: 50257, epsilon: 1e-5 });
using weights = new Slab(device, model.parameters, { values: initialise(model.parameters, 1) });
using optimizer = new Optimizer(device, [{ weights }], {
  beta1: 0.9,
  beta2: 0.95,
  epsilon: 1e-8,
  weightDecay: 0.1,
  clip: 1,
});
using scratch = new Scratch(device);

// A prompt of a half and an answer of a half.
const example = (seed: number): Example => {
  const ids = Uint32Array.from({ length }, (_, i) => ((i + 7) * 31 * (seed + 3)) % 50257);
  return { ids, trained: Uint8Array.from(ids, (_, i) => Number(i >= length / 2)), targets: length / 2, where: "" };
};
const batch = Array.from({ length: pairs }, (_, i) => ({
  pair: { chosen: example(2 * i), rejected: example(2 * i + 1), margin: null, prompt: String(i), where: "" },
  reference: { chosen: -500, rejected: -510 },
}));
const targets = pairs * length;

const sft = answerGraph(model, { rows: 2 * pairs, length, targets, packing: false });
const arrays = batchArrays(2 * pairs, length, targets);
const sides = batch.flatMap(({ pair }) => [pair.chosen, pair.rejected]);
fillBatch(
  sides,
  sides.map((_, i) => [i]),
  length,
  arrays,
);
const dpo = pairFeeding(model, objectiveOf(schema.parse({ kind: "dpo", data: "-" })), { pairs, length, targets });
const contestants = [
  { graph: sft, values: { ...valuesOf(arrays, false), weight: new Float32Array([1 / targets]) } },
  { graph: dpo.graph, values: dpo.fill(batch, batch) },
].map(({ graph, values }) => {
  const program = trainingProgram(device, graph, { trained: [{ weights }], optimizer, scratch });
  return () => {
    const start = performance.now();
    optimizer.zero();
    for (const [name, value] of Object.entries(values)) program.feed(graph.inputs[name]!, value);
    program.run();
    optimizer.update(1e-6, 0);
    device.wait();
    return performance.now() - start;
  };
});
for (const step of contestants) step();
const found = Array.from({ length: Number(times) }, () => contestants.map((step) => step()));
for (const [a, b] of found) console.log(`fine-tuning ${a!.toFixed(0)} ms, DPO ${b!.toFixed(0)} ms`);
const ratios = found.map(([a, b]) => b! / a!).sort((a, b) => a - b);
console.log(`a step of DPO costs ${ratios[ratios.length >> 1]!.toFixed(3)} times one of fine-tuning`);
