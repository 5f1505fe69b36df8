// Parts of a softmax over a run of floats. A NaN among them comes out of `expSum`.
import { exp4, loadFirst, maxLanes, sumLanes } from "./math";

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

/** sum of exp(x[i] - largest) (x[i] - largest). */
export function expMoment(x: usize, largest: f32, count: u32): f32 {
  const top = f32x4.splat(largest);
  let sum = f32x4.splat(0);
  for (let i: u32 = 0; i < count; i += 4) {
    // A weight of zero times a logit far below is zero; LEAST itself would be times zero too.
    const below = f32x4.sub(count - i >= 4 ? v128.load(x) : loadFirst(x, count - i, LEAST), top);
    const near = f32x4.pmax(below, f32x4.splat(-104));
    sum = f32x4.add(sum, f32x4.mul(exp4(near), near));
    x += 16;
  }
  return sumLanes(sum);
}
