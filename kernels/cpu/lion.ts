// Lion over a window of the slabs: https://arxiv.org/abs/2302.06675, algorithm 2.
//   w = w (1 - lr decay);  w = w - lr sign(beta1 m + (1 - beta1) g);  m = beta2 m + (1 - beta2) g
// After a bad step (see norm.ts) nothing is changed any more.
import { input, number, output, param, take } from "./job";
import { storeFirst } from "./math";

const GRAIN: u32 = 16384;

export function forward(job: usize): void {
  const count = param(job, 0);
  const decayed = param(job, 1);
  if (load<f32>(input(job, 2), 8) != 0) return;
  for (let from = take(job, GRAIN); from < count; from = take(job, GRAIN)) {
    const end = min(from + GRAIN, count);
    const middle = min(max(from, decayed), end);
    update(job, from, middle, number(job, 4));
    update(job, middle, end, 0);
  }
}

function update(job: usize, from: u32, end: u32, decay: f32): void {
  const schedule = input(job, 3);
  const rate = f32x4.splat(load<f32>(schedule));
  const kept = f32x4.splat(load<f32>(schedule) * decay);
  const clip = f32x4.splat(load<f32>(input(job, 2), 4));
  const beta1 = f32x4.splat(number(job, 2));
  const beta2 = f32x4.splat(number(job, 3));
  const rest1 = f32x4.splat(1 - number(job, 2));
  const rest2 = f32x4.splat(1 - number(job, 3));
  const zero = f32x4.splat(0);
  const weights = output(job);
  const momentum = input(job, 0);
  const grads = input(job, 1);
  for (let i = from; i < end; i += 4) {
    const at: usize = <usize>i << 2;
    const g = f32x4.mul(v128.load(grads + at), clip);
    const m = v128.load(momentum + at);
    const way = f32x4.add(f32x4.mul(beta1, m), f32x4.mul(rest1, g));
    const up = v128.and(f32x4.gt(way, zero), rate);
    const down = v128.and(f32x4.lt(way, zero), rate);
    let w = v128.load(weights + at);
    w = f32x4.sub(w, f32x4.mul(kept, w));
    storeFirst(momentum + at, f32x4.add(f32x4.mul(beta2, m), f32x4.mul(rest2, g)), end - i);
    storeFirst(weights + at, f32x4.add(f32x4.sub(w, up), down), end - i);
  }
}
