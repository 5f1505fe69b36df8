/** The optimizer: learning rates, AdamW, clipping, and steps that are not finite. */
import { describe, expect, test } from "bun:test";
import adamwSource from "../../kernels/adamw.wgsl" with { type: "text" };
import { linear, whole } from "../../src/device/device";
import { Optimizer } from "../../src/optim/optimizer";
import { learningRate, type Schedule } from "../../src/optim/schedule";
import { device, onEachDevice } from "../support/device";
import { toyModel } from "../support/model";
import { sample } from "../support/oracle";

const base: Schedule = { kind: "cosine", lr: 1, steps: 110, warmup: 10, floor: 0.1, decay: 0.2 };

test("a warm-up below 1 is a share of the steps", () => {
  const share = { ...base, warmup: 0.1 };
  for (const step of [0, 5, 10, 11, 60, 109])
    expect(learningRate(share, step)).toBe(learningRate({ ...base, warmup: 11 }, step));
  expect(learningRate({ ...base, steps: 4, warmup: 0.1 }, 0)).toBe(1);
});

describe("learning rates", () => {
  test("rise linearly over the warm-up to the peak", () => {
    const rates = Array.from({ length: 10 }, (_, step) => learningRate(base, step));
    expect(rates).toEqual(rates.map((_, i) => (i + 1) / 10));
  });
  test.each([
    ["cosine", [1, 0.55, 0.1]],
    ["linear", [1, 0.55, 0.1]],
    ["constant", [1, 1, 1]],
    ["wsd", [1, 1, 0.1]],
  ] as const)("%s: after the warm-up, half way, at the end", (kind, wanted) => {
    [10, 60, 110].forEach((step, i) => {
      expect(learningRate({ ...base, kind }, step)).toBeCloseTo(wanted[i]!, 10);
    });
  });
  test("wsd is stable until its last share, then falls linearly", () => {
    const rate = (step: number) => learningRate({ ...base, kind: "wsd" }, step);
    expect(rate(87)).toBe(1);
    expect(rate(99)).toBeCloseTo(0.55, 10);
  });
});

onEachDevice(() => {
  test.each([
    [1, 0],
    [7, 7],
    [9, 4],
    [100, 37],
    [16399, 16390],
  ])("AdamW of %i elements, %i of them decayed, agrees with float64, and changes nothing behind", (count, decayed) => {
    const [beta1, beta2, epsilon, decay, clip, rate] = [0.9, 0.95, 1e-8, 0.1, 0.7, 0.01].map(Math.fround) as number[] &
      [number, number, number, number, number, number];
    const corrections = [0.271, 0.142625].map(Math.fround);
    const [w, m, grads] = [1, 2, 3].map((seed) => sample(count + 3, seed)) as [
      Float64Array,
      Float64Array,
      Float64Array,
    ];
    const v = sample(count + 3, 4).map((value) => Math.fround(value * value));
    const slabs = [w, m, v, grads, [1, clip, 0], [rate, ...corrections]].map((values) => {
      const buffer = device().allocate(4 * values.length);
      device().upload(whole(buffer), Float32Array.from(values));
      return buffer;
    });
    const [output, ...inputs] = slabs.map(whole) as [ReturnType<typeof whole>, ...ReturnType<typeof whole>[]];
    const kernel = { name: "adamw", source: adamwSource, entry: "forward" };
    const params = { count, decayed, beta1, beta2, epsilon, decay };
    using recording = device().record([{ kernel, params, output, inputs, workgroups: linear(count, 256) }]);
    recording.replay();
    const got = [output, inputs[0]!, inputs[1]!].map((slab) => {
      const values = new Float32Array(count + 3);
      device().download(slab, values);
      return values;
    });
    for (const buffer of slabs) buffer.free();
    for (let i = 0; i < count; i++) {
      const g = clip * grads[i]!;
      m[i] = beta1 * m[i]! + (1 - beta1) * g;
      v[i] = beta2 * v[i]! + (1 - beta2) * g * g;
      const step = (rate * (m[i]! / corrections[0]!)) / (Math.sqrt(v[i]! / corrections[1]!) + epsilon);
      w[i] = w[i]! * (1 - (i < decayed ? rate * decay : 0)) - step;
    }
    [w, m, v].forEach((wanted, slab) => {
      wanted.forEach((value, i) => {
        const error = Math.abs(got[slab]![i]! - value) / (1 + Math.abs(value));
        expect(error, `slab ${slab}, element ${i}`).toBeLessThanOrEqual(i < count ? 4e-7 : 0);
      });
    });
  });
  describe("a step that is not finite", () => {
    const options = { beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0.1, clip: 1 };
    test.each([
      ["NaN", Number.NaN],
      ["infinity", Number.POSITIVE_INFINITY],
    ])("%s in one gradient is found, and the weights stay as they were", (_name, bad) => {
      using toy = toyModel();
      using optimizer = new Optimizer(device(), [{ weights: toy.weights }], options);
      const step = (gradient: Float32Array, at: number) => {
        optimizer.zero();
        device().upload(optimizer.gradients[0]!.slice(0, gradient.length), gradient);
        optimizer.update(1e-3, at);
      };
      const good = new Float32Array(toy.model.parameters.size).fill(0.01);
      step(good, 0);
      expect(optimizer.read().badStep).toBeNull();
      const before = toy.weights.download();
      const spoiled = good.slice();
      spoiled[777] = bad;
      step(spoiled, 1);
      step(good, 2);
      expect(optimizer.read().badStep).toBe(1);
      expect(toy.weights.download()).toEqual(before);
    });
    test("a loss that is not finite is found with good gradients", () => {
      using toy = toyModel();
      using optimizer = new Optimizer(device(), [{ weights: toy.weights }], options);
      optimizer.zero();
      device().upload(optimizer.sums, new Float32Array([Number.NaN]));
      optimizer.update(1e-3, 4);
      expect(optimizer.read().badStep).toBe(4);
    });
    test("decay takes its share of matrices alone, by each slab's own rate", () => {
      using one = toyModel();
      using two = toyModel();
      using optimizer = new Optimizer(
        device(),
        [{ weights: one.weights }, { weights: two.weights, rate: 0.5, name: "critic" }],
        options,
      );
      const before = [one, two].map(({ weights }) => weights.download());
      optimizer.zero();
      optimizer.update(0.1, 0);
      [one, two].forEach(({ weights, model }, i) => {
        const after = weights.download();
        const rate = [0.1, 0.05][i]!;
        for (const { offset, size, decay } of model.parameters.list)
          for (let at = offset; at < offset + size; at += 37)
            expect(after[at]!).toBeCloseTo(before[i]![at]! * (decay ? 1 - rate * 0.1 : 1), 6);
      });
    });
    test("gradients are scaled down to the clip norm", () => {
      using toy = toyModel();
      using optimizer = new Optimizer(device(), [{ weights: toy.weights }], { ...options, clip: 0.5 });
      const { size } = toy.model.parameters;
      optimizer.zero();
      device().upload(optimizer.gradients[0]!.slice(0, size), new Float32Array(size).fill(2));
      optimizer.update(1e-3, 0);
      const norm = 2 * Math.sqrt(size);
      expect(optimizer.read().norm).toBeCloseTo(norm, 2);
      expect(optimizer.state[0]![1].download()[0]!).toBeCloseTo((0.1 * 2 * 0.5) / norm, 7);
    });
  });
});
