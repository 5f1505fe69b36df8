// Functions of four floats at a time, and what else several kernels need. NaN goes in, NaN comes out: pmin and pmax give
// their first operand where one of them is NaN.

/** a b + c, in one step where the engine has a fused multiply-add. */
@inline
export function madd(a: v128, b: v128, c: v128): v128 {
  if (ASC_FEATURE_RELAXED_SIMD) return f32x4.relaxed_madd(a, b, c);
  return f32x4.add(f32x4.mul(a, b), c);
}

// 2^t = 2^n 2^f with n the nearest integer; 2^f on [-1/2, 1/2] is a polynomial with the least relative error, 9e-8. In floats
// it is right to 1.8e-7. Below -126 it stays at 1.2e-38, above 127.9 at 3.2e38.
const SMALLEST: f32 = -126;
const LARGEST: f32 = 127.9;
// Adding 1.5 2^23 + 127 rounds to an integer; the low bits of the sum are then n + 127, the exponent of 2^n.
const ROUND: f32 = 12583039;
const LOG2E: f32 = 1.44269504;

@inline
function power(t: v128): v128 {
  const v = f32x4.pmin(f32x4.pmax(t, f32x4.splat(SMALLEST)), f32x4.splat(LARGEST));
  const shifted = f32x4.add(v, f32x4.splat(ROUND));
  const f = f32x4.sub(v, f32x4.sub(shifted, f32x4.splat(ROUND)));
  let p = madd(f32x4.splat(1.3264727121e-3), f, f32x4.splat(9.6715126448e-3));
  p = madd(p, f, f32x4.splat(5.5507337435e-2));
  p = madd(p, f, f32x4.splat(2.4022242085e-1));
  p = madd(p, f, f32x4.splat(6.9314697760e-1));
  p = madd(p, f, f32x4.splat(1));
  return f32x4.mul(p, i32x4.shl(shifted, 23));
}

@inline
export function exp4(x: v128): v128 {
  return power(f32x4.mul(x, f32x4.splat(LOG2E)));
}

@inline
export function exp1(x: f32): f32 {
  return f32x4.extract_lane(exp4(f32x4.splat(x)), 0);
}

/** The natural logarithm: x = 2^n m, log m = 2 artanh((m - 1) / (m + 1)), for positive normal x. */
export function log1(x: f32): f32 {
  if (!(x > 0) || x > <f32>3.4028234e38) return x == 0 ? -Infinity : x < 0 ? NaN : x;
  const bits = reinterpret<u32>(x);
  let n = <i32>(bits >> 23) - 127;
  let m = <f64>reinterpret<f32>((bits & 0x007fffff) | 0x3f800000);
  if (m > 1.4142135623730951) {
    m *= 0.5;
    n++;
  }
  const z = (m - 1) / (m + 1);
  const q = z * z;
  const series = 1 + q * (1.0 / 3 + q * (1.0 / 5 + q * (1.0 / 7 + q * (1.0 / 9 + q * (1.0 / 11 + q * (1.0 / 13))))));
  return <f32>(<f64>n * 0.6931471805599453 + 2 * z * series);
}

/** Four natural logarithms, as log1 works them out: -Infinity of 0, NaN below. Right to 1e-7, also near 1 and of subnormal numbers. */
@inline
export function log4(x: v128): v128 {
  // Subnormal numbers are made normal by 2^23.
  const small = f32x4.lt(x, f32x4.splat(1.17549435e-38));
  const bits = v128.bitselect(f32x4.mul(x, f32x4.splat(8388608)), x, small);
  // Taking off the bits of sqrt(1/2) leaves n in the exponent's place, and m in [sqrt(1/2), sqrt(2)).
  const n = i32x4.shr_s(i32x4.sub(bits, i32x4.splat(0x3f3504f3)), 23);
  const m = i32x4.sub(bits, i32x4.shl(n, 23));
  const power = f32x4.sub(f32x4.convert_i32x4_s(n), v128.and(small, f32x4.splat(23)));
  const one = f32x4.splat(1);
  const z = f32x4.div(f32x4.sub(m, one), f32x4.add(m, one));
  const q = f32x4.mul(z, z);
  let p = madd(f32x4.splat(1.0 / 9), q, f32x4.splat(1.0 / 7));
  p = madd(p, q, f32x4.splat(1.0 / 5));
  p = madd(p, q, f32x4.splat(1.0 / 3));
  const twice = f32x4.add(z, z);
  // log 2 in two parts, of which the first has so few bits that its product is exact.
  const low = madd(power, f32x4.splat(-2.12194440e-4), f32x4.mul(f32x4.mul(twice, q), p));
  const y = madd(power, f32x4.splat(0.693359375), f32x4.add(twice, low));
  const zero = f32x4.splat(0);
  const usual = v128.and(f32x4.gt(x, zero), f32x4.lt(x, f32x4.splat(Infinity)));
  // Infinity and NaN stay; 0 gives -Infinity; what is below gives NaN.
  const rest = v128.bitselect(f32x4.splat(NaN), x, f32x4.lt(x, zero));
  return v128.bitselect(y, v128.bitselect(f32x4.splat(-Infinity), rest, f32x4.eq(x, zero)), usual);
}

/** 1 + exp(-2 u) with u = sqrt(2/pi) (x + 0.044715 x^3): gelu x = x over this, since (1 + tanh u) / 2 is 1 over it. */
@inline
export function geluDivisor(x: v128): v128 {
  // -2 u log2 e = x (a + b x^2)
  const t = f32x4.mul(x, madd(f32x4.mul(x, x), f32x4.splat(-0.10294324), f32x4.splat(-2.30220819)));
  return f32x4.add(f32x4.splat(1), power(t));
}

@inline
export function gelu4(x: v128): v128 {
  return f32x4.div(x, geluDivisor(x));
}

/** The sum of the lanes, in a fixed order. */
@inline
export function sumLanes(v: v128): f32 {
  return (
    f32x4.extract_lane(v, 0) + f32x4.extract_lane(v, 1) + (f32x4.extract_lane(v, 2) + f32x4.extract_lane(v, 3))
  );
}

@inline
export function maxLanes(v: v128): f32 {
  return max(
    max(f32x4.extract_lane(v, 0), f32x4.extract_lane(v, 1)),
    max(f32x4.extract_lane(v, 2), f32x4.extract_lane(v, 3)),
  );
}

/** Stores the first `count` lanes, 1 to 4. */
@inline
export function storeFirst(at: usize, v: v128, count: u32): void {
  if (count >= 4) {
    v128.store(at, v);
  } else {
    v128.store32_lane(at, v, 0);
    if (count > 1) v128.store32_lane(at, v, 1, 4);
    if (count > 2) v128.store32_lane(at, v, 2, 8);
  }
}

/** Four floats of which only the first `count` are there; the others are `rest`. */
@inline
export function loadFirst(at: usize, count: u32, rest: f32): v128 {
  let v = f32x4.splat(rest);
  v = v128.load32_lane(at, v, 0);
  if (count > 1) v = v128.load32_lane(at, v, 1, 4);
  if (count > 2) v = v128.load32_lane(at, v, 2, 8);
  return v;
}

// How a matrix is stored: the constant STORED of a kernel.
export const FLOAT32: u32 = 0;
export const BFLOAT16: u32 = 1;
export const FLOAT16: u32 = 2;
export const NF4: u32 = 3;
export const INT8: u32 = 4;
export const INT4: u32 = 5;

@inline
export function isQuantised(kind: u32): bool {
  return kind >= NF4;
}

/** Shift from elements to bytes. */
@inline
export function shiftOf(kind: u32): usize {
  return kind == FLOAT32 ? 2 : 1;
}

/** Four finite float16s, in the lower halves of the lanes, as floats: the exponent moves by 112. */
@inline
function fromFloat16(v: v128): v128 {
  const magnitude = i32x4.shl(v128.and(v, i32x4.splat(0x7fff)), 13);
  const sign = i32x4.shl(v128.and(v, i32x4.splat(0x8000)), 16);
  return v128.or(f32x4.mul(magnitude, f32x4.splat(5.192296858534828e33)), sign);
}

/** The lower four of eight 16-bit numbers as floats. bfloat16 is the upper half of a float. */
@inline
export function lower4(v: v128, kind: u32 = BFLOAT16): v128 {
  if (kind == FLOAT16) return fromFloat16(i32x4.extend_low_i16x8_u(v));
  return i8x16.swizzle(v, i8x16(-1, -1, 0, 1, -1, -1, 2, 3, -1, -1, 4, 5, -1, -1, 6, 7));
}

@inline
export function upper4(v: v128, kind: u32 = BFLOAT16): v128 {
  if (kind == FLOAT16) return fromFloat16(i32x4.extend_high_i16x8_u(v));
  return i8x16.swizzle(v, i8x16(-1, -1, 8, 9, -1, -1, 10, 11, -1, -1, 12, 13, -1, -1, 14, 15));
}

/** One 16-bit number. */
@inline
export function half1(at: usize, kind: u32 = BFLOAT16): f32 {
  const v = <u32>load<u16>(at);
  if (kind == FLOAT16) return f32x4.extract_lane(fromFloat16(i32x4.splat(v)), 0);
  return reinterpret<f32>(v << 16);
}

/** Four numbers of any kind. */
@inline
export function load4(at: usize, kind: u32): v128 {
  return kind == FLOAT32 ? v128.load(at) : lower4(v128.load64_zero(at), kind);
}

/** sum of a[i] b[i]. */
export function dot(a: usize, b: usize, count: u32): f32 {
  let s0 = f32x4.splat(0);
  let s1 = f32x4.splat(0);
  let s2 = f32x4.splat(0);
  let s3 = f32x4.splat(0);
  let i: u32 = 0;
  for (; i + 16 <= count; i += 16) {
    s0 = madd(v128.load(a, 0), v128.load(b, 0), s0);
    s1 = madd(v128.load(a, 16), v128.load(b, 16), s1);
    s2 = madd(v128.load(a, 32), v128.load(b, 32), s2);
    s3 = madd(v128.load(a, 48), v128.load(b, 48), s3);
    a += 64;
    b += 64;
  }
  for (; i + 4 <= count; i += 4) {
    s0 = madd(v128.load(a), v128.load(b), s0);
    a += 16;
    b += 16;
  }
  let total = sumLanes(f32x4.add(f32x4.add(s0, s1), f32x4.add(s2, s3)));
  for (; i < count; i++) {
    total += load<f32>(a) * load<f32>(b);
    a += 4;
    b += 4;
  }
  return total;
}

/** PCG output permutation of a 32-bit number: https://jcgt.org/published/0009/03/02, section 4. */
@inline
export function pcg(v: u32): u32 {
  const state = v * 747796405 + 2891336453;
  const word = ((state >> ((state >> 28) + 4)) ^ state) * 277803737;
  return (word >> 22) ^ word;
}

/** A number in [0, 1) from the 24 high bits. */
@inline
export function unit(bits: u32): f32 {
  return <f32>(bits >> 8) / 16777216;
}
