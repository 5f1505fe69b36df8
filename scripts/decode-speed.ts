/**
 * How fast a device decodes: tokens a second of one sequence and of many together, and of prompts that are run. Weights are random,
 * texts short. Arguments: the device (cpu), then models to measure, with how they are stored where that is not f32 (micro gpt2 gpt2:int8).
 */
import { openDevice } from "../src/device/open";
import { Engine } from "../src/generate/engine";
import { sampling } from "../src/generate/sampling";
import { presets } from "../src/model/architectures";
import { modelOf } from "../src/model/model";
import { initialise, type Storage } from "../src/model/parameters";
import { Slab } from "../src/model/slab";
import { type DType, isQuantised } from "../src/tensor/stored";

const shapes: Readonly<Record<string, { vocabulary: number; batches: readonly number[]; tokens: number }>> = {
  micro: { vocabulary: 4096, batches: [1, 2, 4, 8, 16, 64], tokens: 100 },
  gpt2: { vocabulary: 50257, batches: [1, 2, 4, 8, 16], tokens: 32 },
};

const [kind = "cpu", ...wanted] = process.argv.slice(2);
using device = openDevice(kind);
console.log(`${device.info.name} (${device.info.kind})`);
for (const name of wanted.length ? wanted : Object.keys(shapes)) {
  const [preset = "", storage] = name.split(":") as [string, Storage?];
  const { vocabulary, batches, tokens } = shapes[preset]!;
  const model = modelOf(
    { ...presets[preset]!, vocabulary, epsilon: 1e-5 },
    storage,
    isQuantised(storage as DType) ? "int8" : "f32",
  );
  using weights = new Slab(device, model.parameters, { values: initialise(model.parameters, 1) });
  using engine = new Engine(device, model, [weights]);
  let one = 0;
  for (const batch of batches) {
    const prompts = Array.from({ length: batch }, (_, b) => [1 + b, 2, 3]);
    const step = (temperature: number) =>
      best(() => {
        const first = milliseconds(engine, prompts, 1, temperature);
        return (milliseconds(engine, prompts, tokens, temperature) - first) / (tokens - 1);
      });
    const [greedy, sampled] = [step(0), step(0.8)];
    one ||= greedy;
    const figures = [greedy, sampled].map((ms) => `${((1000 * batch) / ms).toFixed(1)} tokens/s (${ms.toFixed(2)} ms)`);
    console.log(
      `${name}, ${batch} at a time: greedy ${figures[0]}, sampled ${figures[1]}; ${((batch * one) / greedy).toFixed(2)} times one`,
    );
  }
  for (const length of [16, 64, 128, 512, 1000].filter((length) => length <= model.config.context)) {
    const prompt = Array.from({ length }, (_, t) => 1 + (t % 50));
    const ms = best(() => milliseconds(engine, [prompt], 1, 0));
    console.log(`${name}, a prompt of ${length}: ${ms.toFixed(1)} ms, ${((1000 * length) / ms).toFixed(0)} tokens/s`);
  }
}

/** The best of three, after one to warm up: what others do on the machine only makes it slower. */
function best(measure: () => number): number {
  measure();
  return Math.min(measure(), measure(), measure());
}

function milliseconds(engine: Engine, prompts: readonly number[][], maxTokens: number, temperature: number): number {
  const start = performance.now();
  for (const _ of engine.generate(prompts, sampling.parse({ temperature, maxTokens })));
  return performance.now() - start;
}
