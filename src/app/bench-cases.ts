/** What `bench` measures: products, passes over memory, training steps, decoding. */

import { isFed } from "../autograd/plan";
import { Program } from "../autograd/program";
import type { Device, KernelTime } from "../device/device";
import { Engine } from "../generate/engine";
import { sampling } from "../generate/sampling";
import { presets } from "../model/architectures";
import { fitted, modelOf } from "../model/model";
import { initialise, type Storage } from "../model/parameters";
import { Slab } from "../model/slab";
import { add } from "../ops/add";
import { crossEntropy } from "../ops/cross-entropy";
import { gelu, geluBackward } from "../ops/gelu";
import { layerNorm } from "../ops/layer-norm";
import { matmul } from "../ops/matmul";
import { Optimizer } from "../optim/optimizer";
import { type Shape, sizeOf } from "../tensor/shape";
import { input, schedule, type Tensor } from "../tensor/tensor";
import { adam, type TrainingSize, trainingStep } from "./training-step";

export interface Case {
  readonly name: string;
  readonly unit: string;
  /** Throws a UserError where the device cannot hold it. */
  readonly open: (device: Device) => Running;
}

/** A case on a device. */
export interface Running extends Disposable {
  /** Seconds of one run. */
  readonly seconds: () => number;
  /** The figure that seconds of a run come to. */
  readonly value: (seconds: number) => number;
  readonly profile?: () => readonly KernelTime[];
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
  { name: "1024x768x768, both", a: [768, 1024], b: [768, 768], transposeA: true, transposeB: true },
  { name: "1000x50257x768, GPT-2's head", a: [1000, 768], b: [50257, 768], transposeB: true },
  { name: "64x768x768", a: [64, 768], b: [768, 768] },
  { name: "64x768x768, b transposed", a: [64, 768], b: [768, 768], transposeB: true },
  { name: "1x768x768", a: [1, 768], b: [768, 768] },
];

function productCase({ name, a, b, ...form }: Product): Case {
  return {
    name: `matmul ${name}`,
    unit: "GFLOP/s",
    open(device) {
      const [x, y] = [input("a", a), input("b", b)];
      const product = matmul(x, y, form);
      const inner = form.transposeA ? a[0]! : a[1]!;
      const work = 2 * sizeOf(product.shape) * inner;
      return programOf(device, product, (seconds) => work / seconds / 1e9);
    },
  };
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
  { name: "cross-entropy", bytes: 4, build: (x) => crossEntropy(x, input("ids", [MANY / 1024], "u32")) },
];

function passCase({ name, bytes, build }: Pass): Case {
  return {
    name: `${name}, 16M elements`,
    unit: "GB/s",
    open(device) {
      const [x, y, row] = [input("x", [MANY / 1024, 1024]), input("y", [MANY / 1024, 1024]), input("row", [1024])];
      return programOf(device, build(x, y, row), (seconds) => (bytes * MANY) / seconds / 1e9);
    },
  };
}

/** A program of one output. Floats that it is fed are one half, ids 0. */
function programOf(device: Device, output: Tensor, value: Running["value"]): Running & { run: () => void } {
  const program = new Program(device, [output]);
  for (const x of schedule([output]).filter(isFed)) {
    const size = sizeOf(x.shape);
    program.feed(x, x.dtype === "u32" ? new Uint32Array(size) : new Float32Array(size).fill(0.5));
  }
  const run = () => program.run();
  return {
    run,
    seconds: () => secondsOf(device, run),
    value,
    [Symbol.dispose]: () => program[Symbol.dispose](),
  };
}

/** Seconds of a call, until the device is done with it. */
function secondsOf(device: Device, f: () => void): number {
  const start = performance.now();
  f();
  device.wait();
  return (performance.now() - start) / 1000;
}

/** Reads weights, both moments and gradients, writes all but the gradients: 28 bytes a parameter. The norm reads gradients once more. */
const adamwCase: Case = {
  name: "AdamW, 15M parameters",
  unit: "GB/s",
  open(device) {
    const sizes = { layers: 8, heads: 4, width: 384, context: 128, vocabulary: 4096 };
    const { parameters } = modelOf({ type: "gpt2", ...sizes, epsilon: 1e-5 });
    using opening = new DisposableStack();
    const weights = opening.use(new Slab(device, parameters));
    const optimizer = opening.use(new Optimizer(device, [{ weights }], { ...adam, clip: 0 }));
    const opened = opening.move();
    return {
      seconds: () => secondsOf(device, () => optimizer.update(1e-4, 0)),
      value: (seconds) => (32 * parameters.size) / seconds / 1e9,
      [Symbol.dispose]: () => opened.dispose(),
    };
  },
};

/** JavaScript for each dispatch of a replay: the time until the replay call returns. */
const dispatchCase: Case = {
  name: "replay of a dispatch",
  unit: "us of JavaScript",
  open(device) {
    let x: Tensor = input("x", [8]);
    for (let i = 0; i < 1000; i++) x = gelu(x);
    const { run, ...running } = programOf(device, x, (seconds) => 1000 * seconds);
    return {
      ...running,
      seconds() {
        const start = performance.now();
        run();
        const seconds = (performance.now() - start) / 1000;
        device.wait();
        return seconds;
      },
    };
  },
};

const micro: TrainingSize = { preset: "micro", rows: 8, length: 128, vocabulary: 4096 };
export const trainings: readonly TrainingSize[] = [
  micro,
  { preset: "tiny", rows: 4, length: 256, vocabulary: 50257 },
  { preset: "gpt2", rows: 1, length: 256, vocabulary: 50257 },
  { ...micro, adapterOn: "f32" },
  { ...micro, adapterOn: "nf4" },
  { preset: "gpt2", rows: 1, length: 256, vocabulary: 50257, adapterOn: "f32" },
  { preset: "gpt2", rows: 1, length: 256, vocabulary: 50257, adapterOn: "nf4" },
];

function trainingCase(size: TrainingSize): Case {
  const { preset, rows, length, adapterOn } = size;
  const what = adapterOn ? `${preset}, LoRA${adapterOn === "f32" ? "" : ` on ${adapterOn}`}` : preset;
  return {
    name: `training, ${what}, ${rows} x ${length}`,
    unit: "tokens/s",
    open(device) {
      const step = trainingStep(device, size);
      return {
        seconds: () => secondsOf(device, () => step.run()),
        value: (seconds) => (rows * length) / seconds,
        profile: () => device.profile(() => step.run()) ?? [],
        [Symbol.dispose]: () => step[Symbol.dispose](),
      };
    },
  };
}

interface Generation {
  readonly preset: string;
  readonly vocabulary: number;
  readonly storage: Storage;
  /** Tokens of the prompt, and how many are written behind it. */
  readonly prompt: number;
  readonly tokens: number;
}

const generations: readonly Generation[] = [
  { preset: "micro", vocabulary: 4096, storage: "f32", prompt: 3, tokens: 64 },
  { preset: "gpt2", vocabulary: 50257, storage: "f32", prompt: 3, tokens: 64 },
  { preset: "gpt2", vocabulary: 50257, storage: "bf16", prompt: 3, tokens: 64 },
  { preset: "gpt2", vocabulary: 50257, storage: "f16", prompt: 3, tokens: 64 },
  { preset: "gpt2", vocabulary: 50257, storage: "f32", prompt: 256, tokens: 1 },
];

function generationCase({ preset, vocabulary, storage, prompt, tokens }: Generation): Case {
  const stored = storage === "f32" ? "" : `, ${storage}`;
  return {
    name: tokens > 1 ? `greedy decoding, ${preset}${stored}, one sequence` : `prefill of ${prompt}, ${preset}${stored}`,
    unit: "tokens/s",
    open(device) {
      const model = fitted(modelOf({ ...presets[preset]!, vocabulary, epsilon: 1e-5 }, storage), device);
      using opening = new DisposableStack();
      const weights = opening.use(new Slab(device, model.parameters, { values: initialise(model.parameters, 1) }));
      const engine = opening.use(new Engine(device, model, [weights]));
      const opened = opening.move();
      const options = sampling.parse({ temperature: 0, maxTokens: tokens });
      const words = Array.from({ length: prompt }, (_, i) => (i * 31) % vocabulary);
      return {
        seconds: () =>
          secondsOf(device, () => {
            for (const _ of engine.generate([words], options));
          }),
        value: (seconds) => (tokens > 1 ? tokens : prompt) / seconds,
        [Symbol.dispose]: () => opened.dispose(),
      };
    },
  };
}

export const cases: readonly Case[] = [
  ...products.map(productCase),
  ...passes.map(passCase),
  adamwCase,
  dispatchCase,
  ...trainings.map(trainingCase),
  ...generations.map(generationCase),
];
