// A few rows of A times a block of B where it lies: B passes by once, which is the whole cost of decoding. Each sum is the same chain
// of products as where B is packed; the sums are held in the scratch memory.
import { native, scratch } from "./job";
import { BFLOAT16, FLOAT16, FLOAT32, half1, isQuantised, load4, madd, shiftOf, storeFirst } from "./math";
import { fewColumns, fewRows, fewWords as nativeFewWords, nativeProduct, packColumns } from "./native";
import { BLOCK } from "./pack";
import { fewTimesWords } from "./quantised";

/** Whether B is read where it lies for so many rows, instead of being packed. */
@inline
export function areFew(rows: u32): bool {
  return rows <= (native ? 8 : 4);
}

/**
 * Strides in elements, but for C's and those of what is added. Where columns of B lie straight, the depth is a multiple of 8. A quantised
 * B is a part, from element `first` on, of the matrix of `total` elements at b.
 */
export function fewTimesBlock(
  rows: u32, width: u32, depth: u32, a: usize, aRow: u32, b: usize, bRow: u32, bColumn: u32, kind: u32, total: usize, first: usize,
  c: usize, stride: usize, from: usize, fromRow: usize,
): void {
  const sums = scratch + BLOCK;
  const sumsRow: usize = <usize>((width + 15) & ~15) << 2;
  memory.fill(sums, 0, <usize>rows * sumsRow);
  if (isQuantised(kind)) {
    const rowOfB = <u32>(first / bColumn);
    const k = <u32>(first % bColumn);
    const rowsOfB = <u32>(total / bColumn);
    if (native) nativeFewWords(kind, rows, (width + 7) & ~7, depth, a, <usize>aRow << 2, b, rowsOfB, bColumn, k, rowOfB, sums, sumsRow);
    else fewTimesWords(rows, width, depth, a, <usize>aRow << 2, b, kind, rowsOfB, bColumn, k, rowOfB, sums, sumsRow);
  } else if (kind == FLOAT32) sumUp(rows, width, depth, a, <usize>aRow << 2, b, bRow, bColumn, sums, sumsRow, FLOAT32);
  else if (kind == BFLOAT16) sumUp(rows, width, depth, a, <usize>aRow << 2, b, bRow, bColumn, sums, sumsRow, BFLOAT16);
  else sumUp(rows, width, depth, a, <usize>aRow << 2, b, bRow, bColumn, sums, sumsRow, FLOAT16);
  for (let r: u32 = 0; r < rows; r++) {
    const sum = sums + <usize>r * sumsRow;
    const to = c + <usize>r * stride;
    const added = from + <usize>r * fromRow;
    for (let x: u32 = 0; x < width; x += 4) {
      const at: usize = <usize>x << 2;
      const v = v128.load(sum + at);
      storeFirst(to + at, from ? f32x4.add(v, v128.load(added + at)) : v, width - x);
    }
  }
}

@inline
function sumUp(
  rows: u32, width: u32, depth: u32, a: usize, aRow: usize, b: usize, bRow: u32, bColumn: u32, sums: usize, sumsRow: usize, kind: u32,
): void {
  if (bColumn == 1) {
    const bytes: usize = <usize>bRow << shiftOf(kind);
    if (native) fewRows(kind, rows, (width + 7) & ~7, depth, a, aRow, b, bytes, sums, sumsRow);
    else rowsOfB(rows, width, depth, a, aRow, b, bytes, sums, sumsRow, kind);
    return;
  }
  const bytes: usize = <usize>bColumn << shiftOf(kind);
  const whole = width & ~15;
  if (native) {
    fewColumns(kind, rows, whole, depth, a, aRow, b, bytes, sums, sumsRow);
    if (whole == width) return;
    const panel = sums + <usize>rows * sumsRow;
    packColumns(kind, b + <usize>whole * bytes, bytes, depth, width - whole, panel);
    nativeProduct(rows, width - whole, depth, a, aRow, panel, 0, 0, sums + (<usize>whole << 2), sumsRow);
    return;
  }
  for (let x: u32 = 0; x < whole; x += 8)
    eightColumns(rows, depth, a, aRow, b + <usize>x * bytes, bytes, sums + (<usize>x << 2), sumsRow, kind);
  for (let x = whole; x < width; x++)
    oneColumn(rows, depth, a, aRow, b + <usize>x * bytes, sums + (<usize>x << 2), sumsRow, kind);
}

/** What is left behind the last sixteen columns. */
@inline
function oneColumn(rows: u32, depth: u32, a: usize, aRow: usize, b: usize, sums: usize, sumsRow: usize, kind: u32): void {
  for (let r: u32 = 0; r < rows; r++) {
    let sum = f32x4.splat(0);
    for (let k: u32 = 0; k < depth; k++) {
      const factor = v128.load32_splat(a + <usize>r * aRow + (<usize>k << 2));
      const at = b + (<usize>k << shiftOf(kind));
      sum = madd(factor, kind == FLOAT32 ? v128.load32_splat(at) : f32x4.splat(half1(at, kind)), sum);
    }
    store<f32>(sums + <usize>r * sumsRow, f32x4.extract_lane(sum, 0));
  }
}

/** sums += A B by rows of B, four at a time. */
@inline
function rowsOfB(
  rows: u32, width: u32, depth: u32, a: usize, aRow: usize, b: usize, bRow: usize, sums: usize, sumsRow: usize, kind: u32,
): void {
  let k: u32 = 0;
  for (; k + 4 <= depth; k += 4) {
    for (let r: u32 = 0; r < rows; r++)
      fourRows(v128.load(a + <usize>r * aRow + (<usize>k << 2)), b, bRow, sums + <usize>r * sumsRow, width, kind);
    b += bRow << 2;
  }
  for (; k < depth; k++) {
    for (let r: u32 = 0; r < rows; r++) {
      const factor = v128.load32_splat(a + <usize>r * aRow + (<usize>k << 2));
      for (let x: u32 = 0; x < width; x += 4) {
        const at = sums + <usize>r * sumsRow + (<usize>x << 2);
        v128.store(at, madd(factor, load4(b + (<usize>x << shiftOf(kind)), kind), v128.load(at)));
      }
    }
    b += bRow;
  }
}

@inline
function fourRows(factors: v128, b: usize, stride: usize, sums: usize, width: u32, kind: u32): void {
  const f0 = v128.shuffle<f32>(factors, factors, 0, 0, 0, 0);
  const f1 = v128.shuffle<f32>(factors, factors, 1, 1, 1, 1);
  const f2 = v128.shuffle<f32>(factors, factors, 2, 2, 2, 2);
  const f3 = v128.shuffle<f32>(factors, factors, 3, 3, 3, 3);
  const b1 = b + stride;
  const b2 = b1 + stride;
  const b3 = b2 + stride;
  for (let x: u32 = 0; x < width; x += 4) {
    const at = sums + (<usize>x << 2);
    const from: usize = <usize>x << shiftOf(kind);
    let sum = madd(f0, load4(b + from, kind), v128.load(at));
    sum = madd(f1, load4(b1 + from, kind), sum);
    sum = madd(f2, load4(b2 + from, kind), sum);
    v128.store(at, madd(f3, load4(b3 + from, kind), sum));
  }
}

/** Eight columns of B that lie straight, four floats of four at a time turned so that each vector has one step of four columns. */
@inline
function eightColumns(
  rows: u32, depth: u32, a: usize, aRow: usize, b: usize, bytes: usize, sums: usize, sumsRow: usize, kind: u32,
): void {
  const twice = bytes << 1;
  for (let r: u32 = 0; r < rows; r++) {
    let from = a + <usize>r * aRow;
    const end = from + (<usize>depth << 2);
    let s0 = f32x4.splat(0);
    let s1 = s0;
    let b0 = b;
    let b4 = b + (twice << 1);
    while (from < end) {
      const factors = v128.load(from);
      const f0 = v128.shuffle<f32>(factors, factors, 0, 0, 0, 0);
      const f1 = v128.shuffle<f32>(factors, factors, 1, 1, 1, 1);
      const f2 = v128.shuffle<f32>(factors, factors, 2, 2, 2, 2);
      const f3 = v128.shuffle<f32>(factors, factors, 3, 3, 3, 3);
      s0 = fourColumns(b0, b0 + twice, bytes, f0, f1, f2, f3, s0, kind);
      s1 = fourColumns(b4, b4 + twice, bytes, f0, f1, f2, f3, s1, kind);
      from += 16;
      b0 += <usize>4 << shiftOf(kind);
      b4 += <usize>4 << shiftOf(kind);
    }
    const to = sums + <usize>r * sumsRow;
    v128.store(to, s0, 0);
    v128.store(to, s1, 16);
  }
}

@inline
function fourColumns(b: usize, b2: usize, bytes: usize, f0: v128, f1: v128, f2: v128, f3: v128, sum: v128, kind: u32): v128 {
  const c0 = load4(b, kind);
  const c1 = load4(b + bytes, kind);
  const c2 = load4(b2, kind);
  const c3 = load4(b2 + bytes, kind);
  const low01 = v128.shuffle<f32>(c0, c1, 0, 4, 1, 5);
  const high01 = v128.shuffle<f32>(c0, c1, 2, 6, 3, 7);
  const low23 = v128.shuffle<f32>(c2, c3, 0, 4, 1, 5);
  const high23 = v128.shuffle<f32>(c2, c3, 2, 6, 3, 7);
  sum = madd(f0, v128.shuffle<f32>(low01, low23, 0, 1, 4, 5), sum);
  sum = madd(f1, v128.shuffle<f32>(low01, low23, 2, 3, 6, 7), sum);
  sum = madd(f2, v128.shuffle<f32>(high01, high23, 0, 1, 4, 5), sum);
  return madd(f3, v128.shuffle<f32>(high01, high23, 2, 3, 6, 7), sum);
}
