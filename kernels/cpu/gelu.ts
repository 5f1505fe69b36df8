// GELU, tanh form: y = x g,  g = (1 + tanh u) / 2,  u = c (x + a x^3).
//   backward   dx = grad (g + 2 x g (1 - g) du),  du = c (1 + 3 a x^2), since 1 - tanh^2 u = 4 g (1 - g)
import { input, output, param, take } from "./job";
import { gelu4, geluGate, storeFirst } from "./math";

const GRAIN: u32 = 4096;

export function forward(job: usize): void {
  const count = param(job, 0);
  const x = input(job, 0);
  const y = output(job);
  for (let from = take(job, GRAIN); from < count; from = take(job, GRAIN)) {
    const end = min(from + GRAIN, count);
    for (let i = from; i < end; i += 4) {
      const at: usize = <usize>i << 2;
      storeFirst(y + at, gelu4(v128.load(x + at)), end - i);
    }
  }
}

export function backward(job: usize): void {
  const count = param(job, 0);
  const x = input(job, 0);
  const grad = input(job, 1);
  const y = output(job);
  for (let from = take(job, GRAIN); from < count; from = take(job, GRAIN)) {
    const end = min(from + GRAIN, count);
    for (let i = from; i < end; i += 4) {
      const at: usize = <usize>i << 2;
      const v = v128.load(x + at);
      const g = geluGate(v);
      // 2 du = 2 c + 6 c a x^2
      const du = f32x4.add(f32x4.mul(f32x4.mul(v, v), f32x4.splat(0.21406444882)), f32x4.splat(1.59576912161));
      const slope = f32x4.mul(f32x4.mul(v, g), f32x4.mul(f32x4.sub(f32x4.splat(1), g), du));
      storeFirst(y + at, f32x4.mul(v128.load(grad + at), f32x4.add(g, slope)), end - i);
    }
  }
}
