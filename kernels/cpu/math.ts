// Functions of four floats at a time, and what else several kernels need. NaN goes in, NaN comes out: no minimum, maximum or
// mask here swallows one.

/** a b + c, in one step where the engine has a fused multiply-add. */
@inline
export function madd(a: v128, b: v128, c: v128): v128 {
  if (ASC_FEATURE_RELAXED_SIMD) return f32x4.relaxed_madd(a, b, c);
  return f32x4.add(f32x4.mul(a, b), c);
}

// exp by range reduction and the polynomial of Cephes' expf (netlib.org/cephes): x = n ln 2 + r, exp x = 2^n exp r. Relative
// error 1e-7; 0 below -87.3, 2.4e38 above 88.3.
const LOWEST: f32 = -87.33654;
const HIGHEST: f32 = 88.37626;
const LOG2E: f32 = 1.44269504;
const LN2_HIGH: f32 = 0.693359375;
const LN2_LOW: f32 = -2.12194440e-4;
// Adding and subtracting it rounds to an integer, whose bits then stand in the low bits of the sum.
const ROUND: f32 = 12582912;

@inline
export function exp4(x: v128): v128 {
  const v = f32x4.pmin(f32x4.pmax(x, f32x4.splat(LOWEST)), f32x4.splat(HIGHEST));
  const shifted = f32x4.add(f32x4.mul(v, f32x4.splat(LOG2E)), f32x4.splat(ROUND));
  const n = f32x4.sub(shifted, f32x4.splat(ROUND));
  const r = f32x4.sub(f32x4.sub(v, f32x4.mul(n, f32x4.splat(LN2_HIGH))), f32x4.mul(n, f32x4.splat(LN2_LOW)));
  let p = f32x4.add(f32x4.mul(f32x4.splat(1.9875691500e-4), r), f32x4.splat(1.3981999507e-3));
  p = f32x4.add(f32x4.mul(p, r), f32x4.splat(8.3334519073e-3));
  p = f32x4.add(f32x4.mul(p, r), f32x4.splat(4.1665795894e-2));
  p = f32x4.add(f32x4.mul(p, r), f32x4.splat(1.6666665459e-1));
  p = f32x4.add(f32x4.mul(p, r), f32x4.splat(5.0000001201e-1));
  p = f32x4.add(f32x4.add(f32x4.mul(p, f32x4.mul(r, r)), r), f32x4.splat(1));
  const power = i32x4.add(i32x4.shl(shifted, 23), i32x4.splat(127 << 23));
  return v128.andnot(f32x4.mul(p, power), f32x4.lt(x, f32x4.splat(LOWEST)));
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

/** 1 / (1 + exp(-2 u)) with u = sqrt(2/pi) (x + 0.044715 x^3): gelu x = x times this, since (1 + tanh u) / 2 is the same. */
@inline
export function geluGate(x: v128): v128 {
  const cube = f32x4.mul(f32x4.mul(x, x), f32x4.mul(x, f32x4.splat(0.044715)));
  const minus2u = f32x4.mul(f32x4.add(x, cube), f32x4.splat(-1.5957691216057308));
  return f32x4.div(f32x4.splat(1), f32x4.add(f32x4.splat(1), exp4(minus2u)));
}

@inline
export function gelu4(x: v128): v128 {
  return f32x4.mul(x, geluGate(x));
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
