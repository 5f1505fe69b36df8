// GELU, tanh form: y = x g,  g = (1 + tanh u) / 2,  u = c (x + a x^3).
//   backward   dx = grad (g + 2 x g (1 - g) du),  du = c (1 + 3 a x^2), since 1 - tanh^2 u = 4 g (1 - g)
import { input, native, output, param, take } from "./job";
import { gelu4, geluDivisor, madd, storeFirst } from "./math";
import { nativeGelu, nativeGeluBackward } from "./native";

const GRAIN: u32 = 32768;

export function forward(job: usize): void {
  const count = param(job, 0);
  const x = input(job, 0);
  const y = output(job);
  for (let from = take(job, GRAIN); from < count; from = take(job, GRAIN)) {
    const at = <usize>from << 2;
    geluRun(x + at, y + at, min(GRAIN, count - from));
  }
}

/** y = gelu x for a run of floats. */
export function geluRun(x: usize, y: usize, count: u32): void {
  if (native) {
    nativeGelu(x, y, count);
    return;
  }
  const end = <usize>count << 2;
  let at: usize = 0;
  for (; at + 16 <= end; at += 16) v128.store(y + at, gelu4(v128.load(x + at)));
  if (at < end) storeFirst(y + at, gelu4(v128.load(x + at)), <u32>(end - at) >> 2);
}

/** Bytes that stay in the first cache between the two passes of `backward`. */
const NEAR: usize = 4096;

export function backward(job: usize): void {
  const count = param(job, 0);
  const x = input(job, 0);
  const grad = input(job, 1);
  const y = output(job);
  for (let from = take(job, GRAIN); from < count; from = take(job, GRAIN)) {
    if (native) {
      const at = <usize>from << 2;
      nativeGeluBackward(x + at, grad + at, y + at, min(GRAIN, count - from));
      continue;
    }
    const end = <usize>min(from + GRAIN, count) << 2;
    for (let near = <usize>from << 2; near < end; near += NEAR) {
      const last = min(near + NEAR, end);
      // One pass for g and one for the rest: together they need more constants than there are registers.
      let at = near;
      for (; at + 16 <= last; at += 16) v128.store(y + at, gate(v128.load(x + at)));
      if (at < last) storeFirst(y + at, gate(v128.load(x + at)), <u32>(last - at) >> 2);
      for (at = near; at < last; at += 16) {
        const dx = slope(v128.load(x + at), v128.load(y + at), v128.load(grad + at));
        storeFirst(y + at, dx, <u32>(last - at) >> 2);
      }
    }
  }
}

@inline
function gate(x: v128): v128 {
  return f32x4.div(f32x4.splat(1), geluDivisor(x));
}

@inline
function slope(x: v128, g: v128, grad: v128): v128 {
  // 2 du = 2 c + 6 c a x^2
  const du = madd(f32x4.mul(x, x), f32x4.splat(0.21406444882), f32x4.splat(1.59576912161));
  const rest = f32x4.sub(f32x4.splat(1), g);
  return f32x4.mul(grad, madd(f32x4.mul(x, g), f32x4.mul(rest, du), g));
}
