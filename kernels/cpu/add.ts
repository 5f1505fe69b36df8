// Sums and scalings of whole tensors.
//   forward     y = a + b
//   multiply    y = a * b
//   accumulate  y += a, in place
//   scale       y = a * factor
//   scale_by    y = a * factor[0]
import { input, number, output, param, take } from "./job";
import { storeFirst } from "./math";

const GRAIN: u32 = 8192;

export function forward(job: usize): void {
  const count = param(job, 0);
  for (let from = take(job, GRAIN); from < count; from = take(job, GRAIN)) {
    const end = min(from + GRAIN, count);
    const a = input(job, 0);
    const b = input(job, 1);
    const y = output(job);
    for (let i = from; i < end; i += 4) {
      const at: usize = <usize>i << 2;
      storeFirst(y + at, f32x4.add(v128.load(a + at), v128.load(b + at)), end - i);
    }
  }
}

export function multiply(job: usize): void {
  const count = param(job, 0);
  for (let from = take(job, GRAIN); from < count; from = take(job, GRAIN)) {
    const end = min(from + GRAIN, count);
    const a = input(job, 0);
    const b = input(job, 1);
    const y = output(job);
    for (let i = from; i < end; i += 4) {
      const at: usize = <usize>i << 2;
      storeFirst(y + at, f32x4.mul(v128.load(a + at), v128.load(b + at)), end - i);
    }
  }
}

export function accumulate(job: usize): void {
  const count = param(job, 0);
  for (let from = take(job, GRAIN); from < count; from = take(job, GRAIN)) {
    const end = min(from + GRAIN, count);
    const a = input(job, 0);
    const y = output(job);
    for (let i = from; i < end; i += 4) {
      const at: usize = <usize>i << 2;
      storeFirst(y + at, f32x4.add(v128.load(y + at), v128.load(a + at)), end - i);
    }
  }
}

export function scale(job: usize): void {
  scaled(job, number(job, 1));
}

export function scale_by(job: usize): void {
  scaled(job, load<f32>(input(job, 1)));
}

function scaled(job: usize, factor: f32): void {
  const count = param(job, 0);
  const factors = f32x4.splat(factor);
  for (let from = take(job, GRAIN); from < count; from = take(job, GRAIN)) {
    const end = min(from + GRAIN, count);
    const a = input(job, 0);
    const y = output(job);
    for (let i = from; i < end; i += 4) {
      const at: usize = <usize>i << 2;
      storeFirst(y + at, f32x4.mul(v128.load(a + at), factors), end - i);
    }
  }
}
