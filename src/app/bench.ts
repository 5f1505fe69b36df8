/** Measurements of a device: medians of several runs, each measured after a warm-up. */
import { Program } from "../autograd/program";
import type { Device } from "../device/device";
import { Engine } from "../generate/engine";
import { sampling } from "../generate/sampling";
import { gpt2, presets } from "../model/gpt2";
import { initialise } from "../model/parameters";
import { Slab } from "../model/slab";
import { add } from "../ops/add";
import { gelu } from "../ops/gelu";
import { matmul } from "../ops/matmul";
import { AdamW } from "../optim/adamw";
import { type Shape, sizeOf } from "../tensor/shape";
import { input, type Tensor } from "../tensor/tensor";
import { trainingProgram } from "../train/fit";

export interface Measurement {
  readonly name: string;
  readonly value: number;
  readonly unit: string;
}

export interface BenchOptions {
  readonly profile: boolean;
  /** Replays of a training step, for the growth of memory. */
  readonly soak: number;
}

export function* benchmark(device: Device, { profile, soak }: BenchOptions): Generator<Measurement> {
  for (const [name, a, b, options] of products) {
    const [x, y] = [input("a", a), input("b", b)];
    const product = matmul(x, y, options);
    const inner = options.transposeA ? a[0]! : a[1]!;
    const seconds = timeOf(device, [product], [x, y]);
    yield { name: `matmul ${name}`, value: (2 * sizeOf(product.shape) * inner) / seconds / 1e9, unit: "GFLOP/s" };
  }
  const [x, y] = [input("x", [1 << 20]), input("y", [1 << 20])];
  yield { name: "add of 1M elements", value: (12 * 2 ** 20) / timeOf(device, [add(x, y)], [x, y]) / 1e9, unit: "GB/s" };
  yield { name: "gelu of 1M elements", value: (8 * 2 ** 20) / timeOf(device, [gelu(x)], [x]) / 1e9, unit: "GB/s" };
  yield dispatchCost(device);
  yield* training(device, { profile, soak });
  yield decoding(device);
}

const products: [string, Shape, Shape, { transposeA?: boolean; transposeB?: boolean }][] = [
  ["1024x768x768", [1024, 768], [768, 768], {}],
  ["1024x768x768, b transposed", [1024, 768], [768, 768], { transposeB: true }],
  ["1024x768x768, a transposed", [768, 1024], [768, 768], { transposeA: true }],
  ["1x768x768", [1, 768], [768, 768], {}],
];

/** Median seconds of a run, after one for warming up. */
function timeOf(device: Device, outputs: readonly Tensor[], inputs: readonly Tensor[]): number {
  using program = new Program(device, outputs);
  for (const x of inputs) program.feed(x, new Float32Array(sizeOf(x.shape)).fill(0.5));
  return median(7, () => {
    program.run();
    device.wait();
  });
}

function median(runs: number, f: () => void): number {
  f();
  const seconds = Array.from({ length: runs }, () => {
    const start = performance.now();
    f();
    return (performance.now() - start) / 1000;
  });
  return seconds.sort((a, b) => a - b)[runs >> 1]!;
}

/** Microseconds of JavaScript for each dispatch of a replay: the time until the replay call returns. */
function dispatchCost(device: Device): Measurement {
  let x: Tensor = input("x", [8]);
  const first = x;
  for (let i = 0; i < 1000; i++) x = gelu(x);
  using program = new Program(device, [x]);
  program.feed(first, new Float32Array(8));
  const costs: number[] = [];
  for (let i = 0; i < 11; i++) {
    const start = performance.now();
    program.run();
    costs.push(performance.now() - start);
    device.wait();
  }
  return { name: "replay of a dispatch", value: costs.slice(1).sort((a, b) => a - b)[5]!, unit: "us of JavaScript" };
}

function* training(device: Device, { profile, soak }: BenchOptions): Generator<Measurement> {
  const [rows, length, vocabulary] = [8, 128, 4096];
  using step = trainingStep(device, { rows, length, vocabulary });
  const seconds = median(7, () => {
    step.run();
    device.wait();
  });
  yield { name: "training, micro, 8 x 128, vocabulary 4096", value: (rows * length) / seconds, unit: "tokens/s" };
  yield { name: "  dispatches of a micro-batch", value: step.dispatches, unit: "" };
  if (profile) {
    for (const { kernel, count, microseconds } of device.profile(() => step.run()) ?? []) {
      yield { name: `  ${kernel} (${count})`, value: microseconds / 1000, unit: "ms" };
    }
  }
  if (soak > 0) yield soaked(device, soak);
}

/** Resident memory after many replays of a small training step, against that after the first tenth. */
function soaked(device: Device, replays: number): Measurement {
  using step = trainingStep(device, { rows: 1, length: 8, vocabulary: 64 });
  let before = 0;
  for (let i = 0; i < replays; i++) {
    if (i === Math.min(500, replays >> 3)) before = process.memoryUsage.rss();
    step.run();
  }
  device.wait();
  return {
    name: `memory growth over ${replays} training steps`,
    value: (process.memoryUsage.rss() - before) / 2 ** 20,
    unit: "MiB",
  };
}

interface TrainingStep extends Disposable {
  readonly dispatches: number;
  run(): void;
}

/** A full training step of the micro model, with AdamW, on made-up tokens. */
export function trainingStep(
  device: Device,
  { rows, length, vocabulary }: { rows: number; length: number; vocabulary: number },
): TrainingStep {
  const model = gpt2({ ...presets.micro!, vocabulary, epsilon: 1e-5 });
  const weights = new Slab(device, model.parameters, { values: initialise(model.parameters, 1) });
  const optimizer = new AdamW(device, weights, { beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0.1, clip: 1 });
  const size = rows * length;
  const [tokens, positions, targets] = ["tokens", "positions", "targets"].map((name) => input(name, [size], "u32")) as [
    Tensor,
    Tensor,
    Tensor,
  ];
  const weight = input("weight", [1]);
  const loss = model.loss(model.hidden(tokens, positions, { length }), targets, weight);
  const program = trainingProgram(device, loss, weights, optimizer);
  const ids = Uint32Array.from({ length: size }, (_, i) => (i * 31 + (i >> 3)) % vocabulary);
  program.feed(
    positions,
    ids.map((_, i) => i % length),
  );
  program.feed(weight, new Float32Array([1 / size]));
  let step = 0;
  return {
    dispatches: program.dispatches,
    run() {
      optimizer.zero();
      program.feed(tokens, ids);
      program.feed(targets, ids);
      program.run();
      optimizer.update(1e-4, step++);
    },
    [Symbol.dispose]() {
      for (const owned of [program, optimizer, weights]) owned[Symbol.dispose]();
    },
  };
}

function decoding(device: Device): Measurement {
  const model = gpt2({ ...presets.micro!, vocabulary: 4096, epsilon: 1e-5 });
  using weights = new Slab(device, model.parameters, { values: initialise(model.parameters, 1) });
  using engine = new Engine(device, model, weights);
  const options = sampling.parse({ temperature: 0, maxTokens: 64 });
  const seconds = median(3, () => {
    for (const _ of engine.generate([[1, 2, 3]], options));
  });
  return { name: "greedy decoding, micro, one sequence", value: 64 / seconds, unit: "tokens/s" };
}
