/** Measurements of a device: medians of several runs, each measured after a warm-up. */

import { isFed } from "../autograd/plan";
import { Program } from "../autograd/program";
import type { Device } from "../device/device";
import { UserError } from "../errors";
import { Engine } from "../generate/engine";
import { sampling } from "../generate/sampling";
import { presets } from "../model/architectures";
import { adapterOf, targeted } from "../model/lora";
import { modelOf, withAdapters } from "../model/model";
import { nextToken } from "../model/next-token";
import { initialise, type Parameters, type Storage } from "../model/parameters";
import { Slab } from "../model/slab";
import { add } from "../ops/add";
import { gelu, geluBackward } from "../ops/gelu";
import { layerNorm } from "../ops/layer-norm";
import { matmul } from "../ops/matmul";
import { AdamW } from "../optim/adamw";
import { type Shape, sizeOf } from "../tensor/shape";
import { input, schedule, type Tensor } from "../tensor/tensor";
import { trainingProgram } from "../train/program";

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

/** What a device cannot hold is left out. */
export function* benchmark(device: Device, { profile, soak }: BenchOptions): Generator<Measurement> {
  for (const product of products) yield* fitting(() => productSpeed(device, product));
  for (const pass of passes) yield* fitting(() => passSpeed(device, pass));
  yield adamwSpeed(device);
  yield dispatchCost(device);
  for (const size of trainings) yield* fitting(() => trainingSpeed(device, size, profile && size === micro));
  if (soak > 0) yield soaked(device, soak);
  for (const [preset, vocabulary] of decodings) yield* fitting(() => [decodingSpeed(device, preset, vocabulary)]);
}

/** Measurements, or none where the device says that something does not fit it. */
function* fitting(measure: () => Iterable<Measurement>): Generator<Measurement> {
  try {
    yield* measure();
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
  }
}

interface Product {
  readonly name: string;
  readonly a: Shape;
  readonly b: Shape;
  readonly transposeA?: boolean;
  readonly transposeB?: boolean;
}

const products: readonly Product[] = [
  { name: "1024x768x768", a: [1024, 768], b: [768, 768] },
  { name: "1024x768x768, b transposed", a: [1024, 768], b: [768, 768], transposeB: true },
  { name: "1024x768x768, a transposed", a: [768, 1024], b: [768, 768], transposeA: true },
  { name: "1000x50257x768, GPT-2's head", a: [1000, 768], b: [50257, 768], transposeB: true },
  { name: "1x768x768", a: [1, 768], b: [768, 768] },
];

function* productSpeed(device: Device, { name, a, b, ...form }: Product): Generator<Measurement> {
  const [x, y] = [input("a", a), input("b", b)];
  const product = matmul(x, y, form);
  const inner = form.transposeA ? a[0]! : a[1]!;
  const seconds = timeOf(device, [product], [x, y]);
  yield { name: `matmul ${name}`, value: (2 * sizeOf(product.shape) * inner) / seconds / 1e9, unit: "GFLOP/s" };
}

/** Elements of the passes over memory: more than any cache holds. */
const MANY = 1 << 24;

interface Pass {
  readonly name: string;
  /** Bytes read and written for each element. */
  readonly bytes: number;
  readonly build: (x: Tensor, y: Tensor, row: Tensor) => Tensor;
}

const passes: readonly Pass[] = [
  { name: "add, as a triad moves it", bytes: 12, build: (x, y) => add(x, y) },
  { name: "layer norm", bytes: 8, build: (x, _, row) => layerNorm(x, row, row) },
  { name: "gelu", bytes: 8, build: (x) => gelu(x) },
  { name: "gelu backward", bytes: 12, build: (x, y) => geluBackward(x, y) },
];

function* passSpeed(device: Device, { name, bytes, build }: Pass): Generator<Measurement> {
  const [x, y, row] = [input("x", [MANY / 1024, 1024]), input("y", [MANY / 1024, 1024]), input("row", [1024])];
  const output = build(x, y, row);
  const seconds = timeOf(device, [output], schedule([output]).filter(isFed));
  yield { name: `${name}, 16M elements`, value: (bytes * MANY) / seconds / 1e9, unit: "GB/s" };
}

/** Reads weights, both moments and gradients, writes all but the gradients: 28 bytes a parameter. */
function adamwSpeed(device: Device): Measurement {
  const { parameters } = modelOf({
    type: "gpt2",
    layers: 8,
    heads: 4,
    width: 384,
    context: 128,
    vocabulary: 4096,
    epsilon: 1e-5,
  });
  using weights = new Slab(device, parameters);
  using optimizer = new AdamW(device, [{ weights }], { ...adam, clip: 0 });
  const seconds = median(() => {
    optimizer.update(1e-4, 0);
    device.wait();
  });
  // The norm of the gradients reads them once more.
  return {
    name: `AdamW, ${(parameters.size / 2 ** 20).toFixed(0)}M parameters`,
    value: (32 * parameters.size) / seconds / 1e9,
    unit: "GB/s",
  };
}

const adam = { beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0.1, clip: 1 };

/** Median seconds of a run. */
function timeOf(device: Device, outputs: readonly Tensor[], inputs: readonly Tensor[]): number {
  using program = new Program(device, outputs);
  for (const x of inputs) program.feed(x, new Float32Array(sizeOf(x.shape)).fill(0.5));
  return median(() => {
    program.run();
    device.wait();
  });
}

/** Compilers of kernels need about this long before a kernel runs at its full speed. */
const WARM_SECONDS = 0.7;

/** Median seconds of a call, after a warm-up: of at most nine calls, fewer where they are long. */
function median(f: () => void): number {
  const start = performance.now();
  do f();
  while (performance.now() - start < 1000 * WARM_SECONDS);
  const seconds: number[] = [];
  for (let total = 0; seconds.length < 9 && total < 3; total += seconds.at(-1)!) {
    const start = performance.now();
    f();
    seconds.push((performance.now() - start) / 1000);
  }
  return seconds.sort((a, b) => a - b)[seconds.length >> 1]!;
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

interface TrainingSize {
  readonly preset: string;
  readonly rows: number;
  readonly length: number;
  readonly vocabulary: number;
  /** An adapter of rank 8 on all linear layers is trained, its base held so. */
  readonly adapterOn?: Storage;
}

const micro: TrainingSize = { preset: "micro", rows: 8, length: 128, vocabulary: 4096 };
const trainings: readonly TrainingSize[] = [
  micro,
  { preset: "tiny", rows: 4, length: 256, vocabulary: 50257 },
  { preset: "gpt2", rows: 1, length: 256, vocabulary: 50257 },
  { ...micro, adapterOn: "f32" },
  { ...micro, adapterOn: "nf4" },
  { preset: "gpt2", rows: 1, length: 256, vocabulary: 50257, adapterOn: "f32" },
  { preset: "gpt2", rows: 1, length: 256, vocabulary: 50257, adapterOn: "nf4" },
];

function* trainingSpeed(device: Device, size: TrainingSize, profile: boolean): Generator<Measurement> {
  const { preset, rows, length, adapterOn } = size;
  const what = adapterOn ? `${preset}, LoRA${adapterOn === "f32" ? "" : ` on ${adapterOn}`}` : preset;
  using step = trainingStep(device, size);
  const seconds = median(() => {
    step.run();
    device.wait();
  });
  yield { name: `training, ${what}, ${rows} x ${length}`, value: (rows * length) / seconds, unit: "tokens/s" };
  if (!profile) return;
  yield { name: "  dispatches of a micro-batch", value: step.dispatches, unit: "" };
  for (const { kernel, count, microseconds } of device.profile(() => step.run()) ?? []) {
    yield { name: `  ${kernel} (${count})`, value: microseconds / 1000, unit: "ms" };
  }
}

/** Resident memory after many replays of a small training step, against that after the first tenth. */
function soaked(device: Device, replays: number): Measurement {
  using step = trainingStep(device, { preset: "micro", rows: 1, length: 8, vocabulary: 64 });
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
  weights(): Float32Array;
}

/** A full training step of a preset, with AdamW, on made-up tokens. */
export function trainingStep(
  device: Device,
  { preset, rows, length, vocabulary, adapterOn }: TrainingSize,
): TrainingStep {
  const base = modelOf({ ...presets[preset]!, vocabulary, epsilon: 1e-5 }, adapterOn);
  const slab = (parameters: Parameters) => new Slab(device, parameters, { values: initialise(parameters, 1) });
  const settings = { rank: 8, alpha: 16, dropout: 0, rslora: false, dora: false };
  const adapter = adapterOn && adapterOf(targeted(base.modules, ["all-linear"]), settings);
  const model = adapter ? withAdapters(base, [adapter]) : base;
  const frozen = adapter ? [slab(base.parameters)] : [];
  const weights = slab(adapter ? adapter.parameters : base.parameters);
  const optimizer = new AdamW(device, [{ weights }], adam);
  const { tokens, positions, targets, weight, rowPositions, ...graph } = nextToken(model, { rows, length });
  const size = rows * length;
  const program = trainingProgram(device, graph, { trained: [{ weights }], frozen, optimizer });
  const ids = Uint32Array.from({ length: size }, (_, i) => (i * 31 + (i >> 3)) % vocabulary);
  program.feed(positions, rowPositions);
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
    weights: () => weights.download(),
    [Symbol.dispose]() {
      for (const owned of [program, optimizer, weights, ...frozen]) owned[Symbol.dispose]();
    },
  };
}

const decodings: readonly [preset: string, vocabulary: number][] = [
  ["micro", 4096],
  ["gpt2", 50257],
];

function decodingSpeed(device: Device, preset: string, vocabulary: number): Measurement {
  const model = modelOf({ ...presets[preset]!, vocabulary, epsilon: 1e-5 });
  using weights = new Slab(device, model.parameters, { values: initialise(model.parameters, 1) });
  using engine = new Engine(device, model, [weights]);
  const options = sampling.parse({ temperature: 0, maxTokens: 64 });
  const seconds = median(() => {
    for (const _ of engine.generate([[1, 2, 3]], options));
  });
  return { name: `greedy decoding, ${preset}, one sequence`, value: 64 / seconds, unit: "tokens/s" };
}
