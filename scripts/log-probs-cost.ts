/**
 * What a loss over log-probabilities costs beside a cross-entropy of the same rows: forward and backward of GPT-2's shape, the two in
 * turn, and the median of their ratios. Arguments: the device (cpu), rows, tokens of a row, times.
 */
import { openDevice } from "../src/device/open";
import { presets } from "../src/model/architectures";
import { modelOf } from "../src/model/model";
import { initialise } from "../src/model/parameters";
import { nll } from "../src/model/row-losses";
import { Slab } from "../src/model/slab";
import { scale } from "../src/ops/elementwise";
import { sum } from "../src/ops/reduce";
import { Optimizer } from "../src/optim/optimizer";
import { input } from "../src/tensor/tensor";
import { trainingProgram } from "../src/train/program";

const [kind = "cpu", rows = "1", tokens = "256", times = "5"] = process.argv.slice(2);
const [size, length] = [Number(rows) * Number(tokens), Number(tokens)];
using device = openDevice(kind);
const model = modelOf({ ...presets.gpt2!, vocabulary: 50257, epsilon: 1e-5 });
using weights = new Slab(device, model.parameters, { values: initialise(model.parameters, 1) });
const adam = { beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0.1, clip: 1 };
using optimizer = new Optimizer(device, [{ weights }], adam);

const programs = (["cross-entropy", "log-probabilities"] as const).map((name) => {
  const ids = ["tokens", "positions", "targets"].map((name) => input(name, [size], "u32"));
  const weight = input("weight", [1]);
  const hidden = model.hidden(ids[0]!, ids[1]!, { length });
  const loss =
    name === "cross-entropy"
      ? model.loss(hidden, nll(ids[2]!), weight).loss
      : scale(scale(sum(model.logProbs(hidden, ids[2]!).logProbs), -1), weight);
  const program = trainingProgram(device, { loss, sums: loss }, { trained: [{ weights }], optimizer });
  const made = Uint32Array.from({ length: size }, (_, i) => (i * 31 + (i >> 3)) % 50257);
  program.feed(ids[0]!, made);
  program.feed(
    ids[1]!,
    made.map((_, i) => i % length),
  );
  program.feed(ids[2]!, made);
  program.feed(weight, new Float32Array([1 / size]));
  return () => {
    const start = performance.now();
    optimizer.zero();
    program.run();
    device.wait();
    return performance.now() - start;
  };
});
for (const run of programs) run();
const pairs = Array.from({ length: Number(times) }, () => programs.map((run) => run()));
const ratios = pairs.map(([a, b]) => b! / a!).sort((a, b) => a - b);
for (const [a, b] of pairs) console.log(`${a!.toFixed(0)} ms, ${b!.toFixed(0)} ms`);
console.log(`log-probabilities cost ${ratios[ratios.length >> 1]!.toFixed(3)} times a cross-entropy step`);
