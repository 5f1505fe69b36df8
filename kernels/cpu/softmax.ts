// Parts of a softmax over a run of floats. A NaN among them comes out of `expSum`.
import { native } from "./job";
import { exp1, exp4, loadFirst, maxLanes, storeFirst, sumLanes } from "./math";
import { nativeExpSum, nativeMoments, nativeScaledExp, nativeSlope, nativeWeigh } from "./native";

const LEAST: f32 = -3.4028234e38;

export function largestOf(x: usize, count: u32): f32 {
  let m0 = f32x4.splat(LEAST);
  let m1 = m0;
  let i: u32 = 0;
  for (; i + 8 <= count; i += 8) {
    m0 = f32x4.pmax(m0, v128.load(x, 0));
    m1 = f32x4.pmax(m1, v128.load(x, 16));
    x += 32;
  }
  for (; i < count; i += 4) {
    m0 = f32x4.pmax(m0, count - i >= 4 ? v128.load(x) : loadFirst(x, count - i, LEAST));
    x += 16;
  }
  return maxLanes(f32x4.pmax(m0, m1));
}

/** sum of exp(x[i] - largest). */
export function expSum(x: usize, largest: f32, count: u32): f32 {
  if (native) return nativeExpSum(x, largest, count);
  const top = f32x4.splat(largest);
  let s0 = f32x4.splat(0);
  let s1 = f32x4.splat(0);
  let i: u32 = 0;
  for (; i + 8 <= count; i += 8) {
    s0 = f32x4.add(s0, exp4(f32x4.sub(v128.load(x, 0), top)));
    s1 = f32x4.add(s1, exp4(f32x4.sub(v128.load(x, 16), top)));
    x += 32;
  }
  for (; i < count; i += 4) {
    const v = count - i >= 4 ? v128.load(x) : loadFirst(x, count - i, LEAST);
    s0 = f32x4.add(s0, exp4(f32x4.sub(v, top)));
    x += 16;
  }
  return sumLanes(f32x4.add(s0, s1));
}

/** The sums of w[i] = exp(x[i] - largest), stored at `to`, of w[i] (x[i] - largest) and of x[i] - largest, stored behind it. */
export function expMoments(x: usize, largest: f32, count: u32, to: usize): void {
  if (native) {
    nativeMoments(x, largest, count, to);
    return;
  }
  const top = f32x4.splat(largest);
  // In the order of expSum: vectors in turn to two sums, those behind the last eight to the first.
  let total = f32x4.splat(0);
  let second = f32x4.splat(0);
  let moment = f32x4.splat(0);
  let lower = f32x4.splat(0);
  for (let i: u32 = 0; i < count; i += 4) {
    const whole = count - i >= 4;
    const below = f32x4.sub(whole ? v128.load(x) : loadFirst(x, count - i, LEAST), top);
    const weight = exp4(below);
    if (i & 4 && i < (count & ~7)) second = f32x4.add(second, weight);
    else total = f32x4.add(total, weight);
    // Far below the weight is zero, and the logit may be infinite: their product must not be NaN.
    moment = f32x4.add(moment, f32x4.mul(weight, f32x4.pmax(below, f32x4.splat(-104))));
    lower = f32x4.add(lower, whole ? below : f32x4.sub(loadFirst(x, count - i, largest), top));
    x += 16;
  }
  store<f32>(to, sumLanes(f32x4.add(total, second)));
  store<f32>(to, sumLanes(moment), 4);
  store<f32>(to, sumLanes(lower), 8);
}

/** s = exp(scale s - offset) for the first `seen` of a row, 0 for the rest up to `end`. Returns the sum. */
export function weigh(s: usize, scale: f32, offset: f32, seen: u32, end: u32): f32 {
  if (native) {
    memory.fill(s + (<usize>seen << 2), 0, <usize>(end - seen) << 2);
    return nativeWeigh(s, scale, offset, seen);
  }
  const factor = f32x4.splat(scale);
  const less = f32x4.splat(offset);
  let sum = f32x4.splat(0);
  let t: u32 = 0;
  for (; t + 4 <= seen; t += 4) {
    const weight = exp4(f32x4.sub(f32x4.mul(v128.load(s), factor), less));
    v128.store(s, weight);
    sum = f32x4.add(sum, weight);
    s += 16;
  }
  let total = sumLanes(sum);
  for (; t < seen; t++) {
    const weight = exp1(load<f32>(s) * scale - offset);
    store<f32>(s, weight);
    total += weight;
    s += 4;
  }
  memory.fill(s, 0, <usize>(end - t) << 2);
  return total;
}

/** y = factor exp(x - less). */
export function scaledExp(x: usize, y: usize, factor: f32, less: f32, count: u32): void {
  if (native) {
    nativeScaledExp(x, y, factor, less, count);
    return;
  }
  const factors = f32x4.splat(factor);
  const lesses = f32x4.splat(less);
  for (let c: u32 = 0; c < count; c += 4) {
    const at: usize = <usize>c << 2;
    storeFirst(y + at, f32x4.mul(factors, exp4(f32x4.sub(v128.load(x + at), lesses))), count - c);
  }
}

/** ds = p (ds - delta) scale over a row, in which p is 0 where nothing is seen. */
export function slope(ds: usize, p: usize, delta: f32, scale: f32, count: u32): void {
  if (native) {
    nativeSlope(ds, p, scale, delta, count);
    return;
  }
  const less = f32x4.splat(delta);
  const factor = f32x4.splat(scale);
  for (let t: u32 = 0; t < count; t += 4) {
    const value = f32x4.mul(f32x4.mul(v128.load(p), factor), f32x4.sub(v128.load(ds), less));
    storeFirst(ds, value, count - t);
    p += 16;
    ds += 16;
  }
}
