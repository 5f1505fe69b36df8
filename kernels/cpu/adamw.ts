// AdamW over a window of the slabs: https://arxiv.org/abs/1711.05101, algorithm 2, in PyTorch's order of operations.
//   w = w (1 - lr decay);  m = beta1 m + (1 - beta1) g;  v = beta2 v + (1 - beta2) g^2
//   w = w - lr (m / correction1) / (sqrt(v / correction2) + epsilon)
// After a bad step (see norm.ts) nothing is changed any more.
import { input, native, number, output, param, take } from "./job";
import { storeFirst } from "./math";
import { nativeAdamW } from "./native";

const GRAIN: u32 = 16384;

export function forward(job: usize): void {
  const count = param(job, 0);
  const decayed = param(job, 1);
  const stats = input(job, 3);
  if (load<f32>(stats, 8) != 0) return;
  for (let from = take(job, GRAIN); from < count; from = take(job, GRAIN)) {
    const end = min(from + GRAIN, count);
    const middle = min(max(from, decayed), end);
    update(job, from, middle, number(job, 5));
    update(job, middle, end, 0);
  }
}

function update(job: usize, from: u32, end: u32, decay: f32): void {
  const schedule = input(job, 4);
  if (native) {
    const start = <usize>from << 2;
    const rate = load<f32>(schedule);
    nativeAdamW(
      end - from, output(job) + start, input(job, 0) + start, input(job, 1) + start, input(job, 2) + start,
      load<f32>(input(job, 3), 4), number(job, 2), number(job, 3), 1 / load<f32>(schedule, 8), number(job, 4),
      rate / load<f32>(schedule, 4), 1 - rate * decay,
    );
    return;
  }
  const rate = f32x4.splat(load<f32>(schedule));
  const kept = f32x4.splat(load<f32>(schedule) * decay);
  const correction1 = f32x4.splat(load<f32>(schedule, 4));
  const correction2 = f32x4.splat(load<f32>(schedule, 8));
  const clip = f32x4.splat(load<f32>(input(job, 3), 4));
  const beta1 = f32x4.splat(number(job, 2));
  const beta2 = f32x4.splat(number(job, 3));
  const rest1 = f32x4.splat(1 - number(job, 2));
  const rest2 = f32x4.splat(1 - number(job, 3));
  const epsilon = f32x4.splat(number(job, 4));
  const weights = output(job);
  const first = input(job, 0);
  const second = input(job, 1);
  const grads = input(job, 2);
  for (let i = from; i < end; i += 4) {
    const at: usize = <usize>i << 2;
    const g = f32x4.mul(v128.load(grads + at), clip);
    const m = f32x4.add(f32x4.mul(beta1, v128.load(first + at)), f32x4.mul(rest1, g));
    const v = f32x4.add(f32x4.mul(beta2, v128.load(second + at)), f32x4.mul(rest2, f32x4.mul(g, g)));
    let w = v128.load(weights + at);
    w = f32x4.sub(w, f32x4.mul(kept, w));
    const denominator = f32x4.add(f32x4.sqrt(f32x4.div(v, correction2)), epsilon);
    const step = f32x4.div(f32x4.mul(rate, f32x4.div(m, correction1)), denominator);
    storeFirst(first + at, m, end - i);
    storeFirst(second + at, v, end - i);
    storeFirst(weights + at, f32x4.sub(w, step), end - i);
  }
}
