// Sums of whole tensors.
//   forward     y = a + b
//   accumulate  y += a, in place
import { input, output, param, take } from "./job";
import { storeFirst } from "./math";

const GRAIN: u32 = 16384;

export function forward(job: usize): void {
  sum(job, input(job, 0), input(job, 1));
}

export function accumulate(job: usize): void {
  sum(job, output(job), input(job, 0));
}

function sum(job: usize, a: usize, b: usize): void {
  const count = param(job, 0);
  const y = output(job);
  for (let from = take(job, GRAIN); from < count; from = take(job, GRAIN)) {
    const end = <usize>min(from + GRAIN, count) << 2;
    let at = <usize>from << 2;
    for (; at + 16 <= end; at += 16) v128.store(y + at, f32x4.add(v128.load(a + at), v128.load(b + at)));
    if (at < end) storeFirst(y + at, f32x4.add(v128.load(a + at), v128.load(b + at)), <u32>(end - at) >> 2);
  }
}
