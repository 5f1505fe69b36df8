// The kernels of machine code, where the device has them: src/device/cpu/native writes them. One call takes one address, of a block
// of 32-bit words in this thread's own memory: the kernel's number, then its arguments.
import { SCRATCH_BYTES, scratch } from "./job";
import { INT8 } from "./math";
import { groupScales, leastBehind, scalesOf, wordShift } from "./quantised";

// @ts-ignore: an import of the module
@external("env", "native")
declare function call(args: usize): void;

// The numbers, in the order of src/device/cpu/native/machine-code.ts: a test compares both.
const PRODUCT: u32 = 0;
const PACKED_PRODUCT: u32 = 1;
const STRIPS: u32 = 2;
// From here on also the next two: STORED of math.ts is added.
const PACK_ROWS: u32 = 3;
const PACK_COLUMNS: u32 = 6;
const FEW_ROWS: u32 = 9;
const FEW_COLUMNS: u32 = 12;
// Up to here.
const GELU: u32 = 15;
const GELU_BACKWARD: u32 = 16;
const WEIGH: u32 = 17;
const EXP_SUM: u32 = 18;
const SCALED_EXP: u32 = 19;
const MOMENTS: u32 = 20;
const SLOPE: u32 = 21;
const ADAMW: u32 = 22;
export const STATISTICS: u32 = 23;
export const NORMALISED: u32 = 24;
export const STATISTICS_NORMALISED: u32 = 25;
const NORM_BACKWARD: u32 = 26;
const UNARY: u32 = 27; // and as many more as there are operations
const BINARY: u32 = 40;
const DROPOUT: u32 = 48;
// Of both also the next: int8 and int4.
const PACK_WORDS: u32 = 49;
const FEW_WORDS: u32 = 51;

@inline
function set(i: usize, value: usize): void {
  store<u32>(scratch + SCRATCH_BYTES + (i << 2), <u32>value);
}

@inline
function setNumber(i: usize, value: f32): void {
  store<f32>(scratch + SCRATCH_BYTES + (i << 2), value);
}

@inline
function run(kernel: u32): void {
  set(0, kernel);
  call(scratch + SCRATCH_BYTES);
}

/**
 * C = A B, onto what is at `from` (0: nothing) with its own stride, for one block and part of the inner dimension. B is packed. A row of
 * A begins `aRow` bytes behind the one before it; with 0 A is packed in strips.
 */
export function nativeProduct(
  rows: u32, columns: u32, depth: u32, a: usize, aRow: usize, b: usize, from: usize, fromRow: usize, c: usize, cRow: usize,
): void {
  set(1, rows);
  set(2, columns);
  set(3, depth);
  set(4, a);
  set(5, aRow);
  set(6, b);
  set(7, from);
  set(8, from ? fromRow : 0);
  set(9, c);
  set(10, cRow);
  run(aRow ? PRODUCT : PACKED_PRODUCT);
}

/** Strips of A, whose steps along the inner dimension are `stride` bytes apart, of `rows` rows. */
export function packStrips(from: usize, stride: usize, depth: u32, rows: u32, to: usize): void {
  pack(STRIPS, from, stride, depth, rows, to);
}

/** Panels of 16 columns of B, whose rows lie straight, `stride` bytes apart. */
export function packRows(kind: u32, from: usize, stride: usize, depth: u32, width: u32, to: usize): void {
  pack(PACK_ROWS + kind, from, stride, depth, width, to);
}

/** The same of a B whose columns lie straight, `stride` bytes apart. */
export function packColumns(kind: u32, from: usize, stride: usize, depth: u32, width: u32, to: usize): void {
  pack(PACK_COLUMNS + kind, from, stride, depth, width, to);
}

@inline
function pack(kernel: u32, from: usize, stride: usize, depth: u32, width: u32, to: usize): void {
  set(1, from);
  set(2, stride);
  set(3, depth);
  set(4, width);
  set(5, to);
  run(kernel);
}

/** sums += A B for a few rows of A, and a run of columns of B, whose rows lie straight. Strides are in bytes. */
export function fewRows(
  kind: u32, rows: u32, columns: u32, depth: u32, a: usize, aRow: usize, b: usize, bRow: usize, sums: usize, sumsRow: usize,
): void {
  few(FEW_ROWS + kind, rows, columns, depth, a, aRow, b, bRow, sums, sumsRow);
}

/**
 * The same of a B whose columns lie straight: a multiple of 16 of them, and a depth that is one of 8. It uses 512 bytes behind the sums.
 */
export function fewColumns(
  kind: u32, rows: u32, columns: u32, depth: u32, a: usize, aRow: usize, b: usize, bColumn: usize, sums: usize, sumsRow: usize,
): void {
  few(FEW_COLUMNS + kind, rows, columns, depth, a, aRow, b, bColumn, sums, sumsRow);
}

@inline
function few(
  kernel: u32, rows: u32, columns: u32, depth: u32, a: usize, aRow: usize, b: usize, stride: usize, sums: usize, sumsRow: usize,
): void {
  set(1, rows);
  set(2, columns);
  set(3, depth);
  set(4, a);
  set(5, aRow);
  set(6, b);
  set(7, stride);
  set(8, sums);
  set(9, sumsRow);
  set(10, sums + <usize>rows * sumsRow);
  run(kernel);
}

/**
 * Panels of 16 columns of B, which is `depth` columns, from k on, of `width` rows of an int8 or int4 matrix [rows, columns], from `row` on. k is a
 * multiple of 8.
 */
export function packWords(
  b: usize, kind: u32, rows: u32, columns: u32, k: u32, depth: u32, row: u32, width: u32, to: usize,
): void {
  setWords(b, kind, rows, columns, k, row);
  set(7, depth);
  set(8, width);
  set(9, to);
  run(PACK_WORDS + kind - INT8);
}

/** sums += A B for a few rows of A and such a B: a width and a depth that are multiples of 8. Strides are in bytes. */
export function fewWords(
  kind: u32, few: u32, width: u32, depth: u32, a: usize, aRow: usize, b: usize, rows: u32, columns: u32, k: u32, row: u32,
  sums: usize, sumsRow: usize,
): void {
  setWords(b, kind, rows, columns, k, row);
  set(7, depth);
  set(8, width);
  set(9, few);
  set(10, a);
  set(11, aRow);
  set(12, sums);
  set(13, sumsRow);
  run(FEW_WORDS + kind - INT8);
}

@inline
function setWords(b: usize, kind: u32, rows: u32, columns: u32, k: u32, row: u32): void {
  const scales = scalesOf(b, kind, rows, columns);
  const group = groupScales(scales, rows, k) + (<usize>row << 1);
  set(1, b + (<usize>((k >> wordShift(kind)) * rows + row) << 2));
  set(2, <usize>rows << 2);
  set(3, kind == INT8 ? scales + (<usize>row << 2) : group);
  set(4, group + leastBehind(rows, columns));
  // Steps until the next scales, and how far these lie apart.
  set(5, k % 64);
  set(6, <usize>rows << 1);
}

@inline
function setRun(count: u32, to: usize, from: usize): void {
  set(1, count);
  set(2, to);
  set(3, from);
}

export function nativeGelu(x: usize, y: usize, count: u32): void {
  setRun(count, y, x);
  run(GELU);
}

export function nativeGeluBackward(x: usize, grad: usize, y: usize, count: u32): void {
  setRun(count, y, x);
  set(4, grad);
  run(GELU_BACKWARD);
}

/** The sum of the eight floats that a kernel left as its i-th, in a fixed order. */
@inline
function sumOfLanes(i: usize): f32 {
  const at = scratch + SCRATCH_BYTES + ((8 + 8 * i) << 2);
  const v = f32x4.add(v128.load(at), v128.load(at, 16));
  return (
    f32x4.extract_lane(v, 0) + f32x4.extract_lane(v, 1) + (f32x4.extract_lane(v, 2) + f32x4.extract_lane(v, 3))
  );
}

/** x = exp(factor x - less). Returns the sum. */
export function nativeWeigh(x: usize, factor: f32, less: f32, count: u32): f32 {
  setRun(count, x, x);
  setNumber(4, factor);
  setNumber(5, less);
  run(WEIGH);
  return sumOfLanes(0);
}

/** The sum of exp(x - less). */
export function nativeExpSum(x: usize, less: f32, count: u32): f32 {
  setRun(count, x, x);
  setNumber(4, 1);
  setNumber(5, less);
  run(EXP_SUM);
  return sumOfLanes(0);
}

/** y = factor exp(x - less). */
export function nativeScaledExp(x: usize, y: usize, factor: f32, less: f32, count: u32): void {
  setRun(count, y, x);
  setNumber(4, factor);
  setNumber(5, less);
  run(SCALED_EXP);
}

/** Sums of w = exp(x - less), of w (x - less) and of x - less, to three floats. */
export function nativeMoments(x: usize, less: f32, count: u32, to: usize): void {
  setRun(count, x, x);
  setNumber(5, less);
  run(MOMENTS);
  for (let i: usize = 0; i < 3; i++) store<f32>(to + (i << 2), sumOfLanes(i));
}

/** y = p (y - less) factor. */
export function nativeSlope(y: usize, p: usize, factor: f32, less: f32, count: u32): void {
  setRun(count, y, p);
  set(4, y);
  setNumber(5, factor);
  setNumber(6, less);
  run(SLOPE);
}

/** AdamW's update of `count` elements from byte `at` of each slab on: see src/device/cpu/native/adamw.ts. */
export function nativeAdamW(
  count: u32, weights: usize, first: usize, second: usize, grads: usize,
  clip: f32, beta1: f32, beta2: f32, scale: f32, epsilon: f32, rate: f32, kept: f32,
): void {
  setRun(count, weights, first);
  set(4, second);
  set(5, grads);
  setNumber(6, clip);
  setNumber(7, beta1);
  setNumber(8, 1 - beta1);
  setNumber(9, beta2);
  setNumber(10, 1 - beta2);
  setNumber(11, scale);
  setNumber(12, epsilon);
  setNumber(13, rate);
  setNumber(14, kept);
  run(ADAMW);
}

@inline
function setRows(rows: u32, columns: u32, x: usize, y: usize, statistics: usize, scale: usize, other: usize): void {
  set(1, rows);
  set(2, columns);
  set(3, x);
  set(4, y);
  set(5, statistics);
  set(6, scale);
  set(7, other);
  setNumber(8, <f32>columns);
}

/** `kernel` is STATISTICS, NORMALISED, or both. */
export function nativeLayerNorm(
  kernel: u32, rows: u32, columns: u32, x: usize, y: usize, statistics: usize, scale: usize, shift: usize, epsilon: f32,
): void {
  setRows(rows, columns, x, y, statistics, scale, shift);
  setNumber(9, epsilon);
  run(kernel);
}

export function nativeNormBackward(
  rows: u32, columns: u32, x: usize, y: usize, statistics: usize, scale: usize, grad: usize,
): void {
  setRows(rows, columns, x, y, statistics, scale, grad);
  run(NORM_BACKWARD);
}

/** y = f(x), with the numbers p and q of the operation. */
export function nativeUnary(operation: u32, x: usize, y: usize, p: f32, q: f32, count: u32): void {
  setRun(count, y, x);
  setNumber(4, p);
  setNumber(5, q);
  run(UNARY + operation);
}

/** y = f(a, b). */
export function nativeBinary(operation: u32, a: usize, b: usize, y: usize, count: u32): void {
  setRun(count, y, a);
  set(4, b);
  run(BINARY + operation);
}

/** y = x / kept where the random number of key + i is at least `rate`, else 0. */
export function nativeDropout(x: usize, y: usize, key: u32, rate: f32, kept: f32, count: u32): void {
  setRun(count, y, x);
  set(4, key);
  setNumber(5, rate);
  setNumber(6, kept);
  run(DROPOUT);
}
