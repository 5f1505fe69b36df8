/** How ops are tested: gradient rules by central differences in float64, kernels against the float64 meaning. */
import { expect } from "bun:test";
import { gradients } from "../../src/autograd/gradients";
import { interpret } from "../../src/autograd/interpret";
import { Program } from "../../src/autograd/program";
import { type Device, withTraits } from "../../src/device/device";
import { narrowed, narrowedToF16 } from "../../src/model/half";
import { pack } from "../../src/model/quantised";
import { randomAt } from "../../src/ops/random";
import { type Shape, sizeOf } from "../../src/tensor/shape";
import { type DType, isQuantised } from "../../src/tensor/stored";
import { input, type Tensor, type Values } from "../../src/tensor/tensor";
import { cpuKinds, device, gpuForms } from "./device";

/** An input of an op: a shape of random numbers, or a shape with the ids or values to feed. */
export type Given = Shape | { readonly shape: Shape; readonly values: readonly number[]; readonly dtype?: DType };
export type Op = (...inputs: Tensor[]) => Tensor;

/** Numbers in [-1, 1), exact in float32. */
export function sample(size: number, seed: number): Values {
  return new Float64Array(size).map((_, i) => Math.fround(2 * randomAt(seed, 7, i) - 1));
}

interface Case {
  readonly xs: Tensor[];
  readonly y: Tensor;
  readonly feeds: Map<Tensor, Values>;
  /** Which inputs are random numbers, and so have gradients to check. */
  readonly free: boolean[];
}

export function build(op: Op, given: readonly Given[], seed: number): Case {
  const xs = given.map((g, i) => ("shape" in g ? input(`x${i}`, g.shape, g.dtype ?? "u32") : input(`x${i}`, g)));
  const feeds = new Map(xs.map((x, i) => [x, valuesOf(given[i]!, x, seed + i)]));
  return { xs, y: op(...xs), feeds, free: given.map((g) => !("shape" in g)) };
}

function valuesOf(given: Given, x: Tensor, seed: number): Values {
  return "shape" in given ? Float64Array.from(given.values) : sample(sizeOf(x.shape), seed);
}

/** The vjp against central differences, both in float64: no device involved. */
export function checkGradient(op: Op, given: readonly Given[], seed = 1): void {
  const { xs, y, feeds, free } = build(op, given, seed);
  const dy = input("dy", y.shape);
  const grads = gradients(y, xs, { seed: dy });
  const weights = sample(sizeOf(y.shape), seed + 99);
  const loss = () => interpret([y], feeds)[0]!.reduce((sum, value, i) => sum + value * weights[i]!, 0);
  xs.forEach((x, i) => {
    const grad = grads[i];
    if (!free[i] || !grad) return;
    const got = interpret([grad], new Map([...feeds, [dy, weights]]))[0]!;
    const values = feeds.get(x)!;
    expect(got.length).toBe(values.length);
    const h = 1e-5;
    for (let e = 0; e < values.length; e++) {
      const before = values[e]!;
      values[e] = before + h;
      const up = loss();
      values[e] = before - h;
      const down = loss();
      values[e] = before;
      expect(Math.abs(got[e]! - (up - down) / (2 * h)), `d/dx${i}[${e}]`).toBeLessThan(1e-7);
    }
  });
}

/** The op and all its gradients: the devices' float32 against float64, relative to the largest magnitude of each. */
export function checkKernels(op: Op, given: readonly Given[], tolerance = 2e-6, seed = 1): void {
  const { xs, y, feeds, free } = build(op, given, seed);
  const dy = input("dy", y.shape);
  const grads = gradients(y, xs, { seed: dy }).filter((grad, i) => grad !== null && free[i]) as Tensor[];
  if (grads.length) feeds.set(dy, sample(sizeOf(y.shape), seed + 99));
  compare([y, ...grads], feeds, tolerance);
}

/** The same of an op that has no gradient rule. */
export function checkForward(op: Op, given: readonly Given[], tolerance = 2e-6, seed = 1): void {
  const { y, feeds } = build(op, given, seed);
  compare([y], feeds, tolerance);
}

/** What these outputs mean against what they are on the CPU device and on the adapter, there by each choice of kernels. */
export function compare(outputs: readonly Tensor[], feeds: ReadonlyMap<Tensor, Values>, tolerance: number): void {
  const wanted = interpret(outputs, feeds);
  for (const [form, on] of Object.entries(kernelForms())) {
    using program = new Program(on, outputs);
    for (const [tensor, values] of feeds) {
      if (!program.plan.places.has(tensor)) continue;
      program.feed(tensor, stored(values, tensor));
    }
    program.run();
    outputs.forEach((output, i) => {
      const size = sizeOf(output.shape);
      const got = output.dtype === "u32" ? program.read(output, new Uint32Array(size)) : program.read(output);
      const error = largestError(got, wanted[i]!);
      expect(error, `${output.name} [${output.shape}], kernels for ${form}`).toBeLessThanOrEqual(tolerance);
    });
  }
}

/** Values as a tensor of that type holds them. */
export function stored(values: Values, { shape, dtype = "f32" }: Tensor) {
  if (isQuantised(dtype)) return pack(Float32Array.from(values), shape, dtype);
  if (dtype === "u32") return Uint32Array.from(values);
  if (dtype === "f16") return narrowedToF16(Float32Array.from(values));
  return dtype === "bf16" ? narrowed(Float32Array.from(values)) : Float32Array.from(values);
}

/**
 * Every set of kernels: those of the CPU device, of each kind, and on the adapter its own, those for a software adapter, and those for GPUs
 * by how much memory a workgroup has. All of them run on any adapter.
 */
export function kernelForms(): Record<string, Device> {
  const adapter = device("adapter");
  return {
    ...Object.fromEntries(cpuKinds.map((kind) => [`the CPU (${kind})`, device(kind)])),
    "the adapter": adapter,
    "a software adapter": withTraits(adapter, { software: true, subgroupSize: 0 }),
    "a GPU of 32 KiB": withTraits(adapter, gpuForms.gpu),
    "a GPU of 16 KiB": withTraits(adapter, gpuForms["small-gpu"]),
  };
}

/** Largest difference, relative to the largest wanted magnitude. NaN counts as infinite. */
export function largestError(got: ArrayLike<number>, wanted: ArrayLike<number>): number {
  let largest = 0;
  let error = 0;
  for (let i = 0; i < wanted.length; i++) {
    largest = Math.max(largest, Math.abs(wanted[i]!));
    const difference = Math.abs(got[i]! - wanted[i]!);
    error = Math.max(error, Number.isNaN(difference) ? Number.POSITIVE_INFINITY : difference);
  }
  return largest === 0 ? error : error / largest;
}
