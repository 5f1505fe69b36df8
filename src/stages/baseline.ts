/**
 * KTO's baseline: the mean over a step of how much likelier than the reference the policy finds answers that belong to other prompts
 * (https://arxiv.org/abs/2402.01306, section 4.2). It is found before the step's first backward pass, and stays on the device.
 */
import { Program } from "../autograd/program";
import type { Scratch } from "../autograd/scratch";
import type { Example } from "../data/examples";
import { batchArrays, fillBatch } from "../data/layout";
import type { JudgedExample } from "../data/pairs";
import type { Device } from "../device/device";
import { completionInputs, completions } from "../model/completions";
import type { Model } from "../model/model";
import { layOut } from "../model/parameters";
import { bindAll, Slab } from "../model/slab";
import { accumulate } from "../ops/add";
import { multiply, subtract } from "../ops/elementwise";
import { sum } from "../ops/reduce";
import { input, type Tensor } from "../tensor/tensor";
import type { Known } from "./judged";

/** For each answer of a step the prompt that it has, with the answer before it: one that is another, where there is one. */
export function mismatched(step: readonly JudgedExample[], length: number, spare?: JudgedExample): Example[] {
  const key = ({ answer }: JudgedExample) => answer.ids.slice(answer.trained.indexOf(1)).join();
  const keys = step.map(key);
  return step.map((judged, at) => {
    const others = step.map((_, back) => (at - 1 - back + 2 * step.length) % step.length).filter((i) => i !== at);
    const other = others.find((i) => keys[i] !== keys[at] && step[i]!.prompt !== judged.prompt) ?? others[0];
    return joined(judged.answer, (other === undefined ? spare : step[other])?.answer ?? judged.answer, length);
  });
}

/** One's prompt and another's answer, cut at the end where they are too long. */
function joined(asked: Example, answered: Example, length: number): Example {
  const [first, from] = [asked.trained.indexOf(1), answered.trained.indexOf(1)];
  const ids = Uint32Array.from([...asked.ids.subarray(0, first), ...answered.ids.subarray(from)].slice(0, length));
  const trained = Uint8Array.from(
    [...asked.trained.subarray(0, first), ...answered.trained.subarray(from)].slice(0, length),
  );
  return { ids, trained, targets: trained.reduce((sum, flag) => sum + flag, 0), where: asked.where };
}

export interface BaselineOptions {
  readonly model: Model;
  readonly slabs: readonly Slab[];
  readonly reference: Model | undefined;
  /** Answers of a pass, and tokens of one at most. */
  readonly rows: number;
  readonly length: number;
}

export interface Baseline extends Disposable {
  /** [1]. */
  readonly tensor: Tensor;
  /** What holds it: bound with the weights. */
  readonly slab: Slab;
  /** Finds it for these; `scratch` may hold nothing that is needed later. */
  find(all: readonly Known[], scratch: Scratch): void;
}

export function baselineOf(device: Device, { model, slabs, reference, rows, length }: BaselineOptions): Baseline {
  const parameters = layOut([{ name: "KL baseline", shape: [1], init: { value: 0 }, decay: false }]);
  const slab = new Slab(device, parameters);
  const [parameter] = parameters.list;
  const { tensor } = parameter!;
  const bind = bindAll([...slabs, slab]);
  const passes = new Map<string, ReturnType<typeof passOf>>();
  const nothing = new Float32Array(1);
  return {
    tensor,
    slab,
    find(all, scratch) {
      device.upload(slab.sliceOf(parameter!), nothing);
      const byLength = [...all].sort((a, b) => a.example.ids.length - b.example.ids.length);
      for (let first = 0; first < byLength.length; first += rows) {
        const batch = byLength.slice(first, first + rows);
        const long = roundUp(Math.max(...batch.map(({ example }) => example.ids.length)), length);
        const targets = roundUp(
          batch.reduce((sum, { example }) => sum + example.targets, 0),
          rows * length,
        );
        const key = `${long} ${targets}`;
        let pass = passes.get(key);
        if (!pass) {
          pass = passOf(long, targets, scratch);
          passes.set(key, pass);
        }
        const { program, inputs, arrays } = pass;
        fillBatch(
          batch.map(({ example }) => example),
          batch.map((_, at) => [at]),
          long,
          arrays,
        );
        arrays.weights.fill(0).fill(1 / all.length, 0, batch.length);
        arrays.reference.fill(0);
        for (const [row, { reference }] of batch.entries()) arrays.reference[row] = reference ?? 0;
        for (const [name, x] of Object.entries(inputs)) program.feed(x, arrays[name as keyof typeof inputs]);
        program.run();
      }
    },
    [Symbol.dispose]() {
      for (const { program } of passes.values()) program[Symbol.dispose]();
      slab[Symbol.dispose]();
    },
  };

  function passOf(length: number, targets: number, scratch: Scratch) {
    const asked = completionInputs(rows * length, targets);
    const [fed, weights] = [input("reference", [rows]), input("weights", [rows])];
    const of = (model: Model) => completions(model, asked, { length, count: rows }).logProbs;
    const ratios = subtract(of(model), reference ? of(reference) : fed);
    const program = new Program(device, [accumulate(tensor, sum(multiply(ratios, weights)))], { bind, scratch });
    const arrays = {
      ...batchArrays(rows, length, targets),
      reference: new Float32Array(rows),
      weights: new Float32Array(rows),
    };
    return { program, inputs: { ...asked, weights, ...(!reference && { reference: fed }) }, arrays };
  }
}

/** Sizes come in powers of 2, so that there are few programs. */
function roundUp(size: number, most: number): number {
  return Math.min(most, 2 ** Math.ceil(Math.log2(Math.max(8, size))));
}
