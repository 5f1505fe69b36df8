// y = f(a) and y = f(a, b), element by element: OPERATION says which f, in the order of src/ops/elementwise.ts.
//   unary    f of one tensor, with up to two numbers p and q
//   binary   f of two; a tensor of one element has step 0
import { constant, input, native, number, OPERATION, output, param, scratch, take } from "./job";
import { exp4, log4, madd, storeFirst } from "./math";
import { nativeBinary, nativeUnary } from "./native";

const GRAIN: u32 = 16384;

export function unary(job: usize): void {
  const count = param(job, 0);
  const p = f32x4.splat(number(job, 1));
  const q = f32x4.splat(number(job, 2));
  const operation = constant(job, OPERATION);
  const x = input(job, 0);
  const y = output(job);
  for (let from = take(job, GRAIN); from < count; from = take(job, GRAIN)) {
    if (native) {
      const at = <usize>from << 2;
      nativeUnary(operation, x + at, y + at, number(job, 1), number(job, 2), min(GRAIN, count - from));
      continue;
    }
    const end = <usize>min(from + GRAIN, count) << 2;
    for (let at = <usize>from << 2; at < end; at += 16) {
      storeFirst(y + at, unaryOf(operation, v128.load(x + at), p, q), <u32>(end - at) >> 2);
    }
  }
}

export function binary(job: usize): void {
  const count = param(job, 0);
  const operation = constant(job, OPERATION);
  const a = input(job, 0);
  const b = input(job, 1);
  const y = output(job);
  const aSteps = param(job, 3) != 0;
  const bSteps = param(job, 4) != 0;
  for (let from = take(job, GRAIN); from < count; from = take(job, GRAIN)) {
    if (native) {
      const at = <usize>from << 2;
      const length = min(GRAIN, count - from);
      const left = aSteps ? a + at : repeated(a, scratch, length);
      const right = bSteps ? b + at : repeated(b, scratch + (GRAIN << 2), length);
      nativeBinary(operation, left, right, y + at, length);
      continue;
    }
    const end = <usize>min(from + GRAIN, count) << 2;
    for (let at = <usize>from << 2; at < end; at += 16) {
      const left = aSteps ? v128.load(a + at) : v128.load32_splat(a);
      const right = bSteps ? v128.load(b + at) : v128.load32_splat(b);
      storeFirst(y + at, binaryOf(operation, left, right), <u32>(end - at) >> 2);
    }
  }
}

/** One float as often as `count` says, at `to`. */
function repeated(x: usize, to: usize, count: u32): usize {
  const value = v128.load32_splat(x);
  for (let i: u32 = 0; i < count; i += 4) v128.store(to + (<usize>i << 2), value);
  return to;
}

@inline
function unaryOf(operation: u32, x: v128, p: v128, q: v128): v128 {
  switch (operation) {
    case 0: return f32x4.mul(x, p); // scale
    case 1: return f32x4.add(x, p); // shift
    case 2: return exp4(x);
    case 3: return log4(x);
    case 4: return sigmoid4(x);
    case 5: return f32x4.sub(f32x4.min(x, f32x4.splat(0)), logOnePlus(exp4(f32x4.neg(f32x4.abs(x))))); // logSigmoid
    case 6: return f32x4.max(x, f32x4.splat(0)); // relu
    case 7: return f32x4.mul(x, x); // square
    case 8: return f32x4.sqrt(x);
    case 9: return f32x4.abs(x);
    case 10: return sign4(x);
    case 11: return f32x4.min(f32x4.max(x, p), q); // clamp
    default: return ones(v128.and(f32x4.ge(x, p), f32x4.le(x, q))); // inside
  }
}

@inline
function binaryOf(operation: u32, x: v128, y: v128): v128 {
  switch (operation) {
    case 0: return f32x4.add(x, y);
    case 1: return f32x4.sub(x, y); // subtract
    case 2: return f32x4.mul(x, y); // multiply
    case 3: return f32x4.div(x, y); // divide
    case 4: return f32x4.min(x, y); // minimum
    case 5: return f32x4.max(x, y); // maximum
    case 6: return ones(f32x4.le(x, y)); // atMost
    default: return ones(f32x4.gt(x, y)); // above
  }
}

/** 1 where the mask is set, else 0. */
@inline
function ones(mask: v128): v128 {
  return v128.and(mask, f32x4.splat(1));
}

/** -1, 0 or 1. What is neither above nor below 0 stays, so that NaN does. */
@inline
function sign4(x: v128): v128 {
  const zero = f32x4.splat(0);
  const below = v128.bitselect(f32x4.splat(-1), x, f32x4.lt(x, zero));
  return v128.bitselect(f32x4.splat(1), below, f32x4.gt(x, zero));
}

/** 1 / (1 + exp(-x)). exp sees no positive number, so nothing overflows. */
@inline
function sigmoid4(x: v128): v128 {
  const e = exp4(f32x4.neg(f32x4.abs(x)));
  const one = f32x4.splat(1);
  return f32x4.div(v128.bitselect(one, e, f32x4.ge(x, f32x4.splat(0))), f32x4.add(one, e));
}

/** log(1 + e) for e in [0, 1] = 2 artanh z, z = e / (2 + e): right where e is lost beside 1. */
@inline
function logOnePlus(e: v128): v128 {
  const z = f32x4.div(e, f32x4.add(f32x4.splat(2), e));
  const s = f32x4.mul(z, z);
  let p = madd(f32x4.splat(1.0 / 15), s, f32x4.splat(1.0 / 13));
  p = madd(p, s, f32x4.splat(1.0 / 11));
  p = madd(p, s, f32x4.splat(1.0 / 9));
  p = madd(p, s, f32x4.splat(1.0 / 7));
  p = madd(p, s, f32x4.splat(1.0 / 5));
  p = madd(p, s, f32x4.splat(1.0 / 3));
  p = madd(p, s, f32x4.splat(1));
  return f32x4.mul(f32x4.add(z, z), p);
}
