// C = A B (+ bias) (+ C) on one thread, blocked for the caches: the inside of every matrix product, attention's too.
//
// Strides are in elements. (row, column) strides of A and B say every transposition; one of the two is 1. Each element of C is one
// sum of products in the order of the inner dimension, over DEPTH of it at a time, each added to what was there: whatever the shape
// and the block, so a row's result does not depend on what is computed beside it.
import { native, scratch } from "./job";
import { rowsTimesBlock } from "./gemm";
import { BFLOAT16, FLOAT16, FLOAT32, isQuantised, load4, madd, shiftOf, storeFirst } from "./math";
import { fewRows, nativeProduct, packStrips } from "./native";
import { BLOCK, DEPTH, HEIGHT, NATIVE_DEPTH, packPanels, STRIP, WIDTH } from "./pack";

/** Rows up to which a B whose rows lie straight is read where it lies, instead of being packed. */
export const FEW: u32 = 4;

export function product(
  rows: u32, columns: u32, inner: u32,
  a: usize, aRow: u32, aColumn: u32,
  b: usize, bRow: u32, bColumn: u32,
  c: usize, cRow: u32,
  add: bool,
  bias: usize = 0, // a row that is added to every row; 0: none
  kind: u32 = FLOAT32, // how B is stored
  bTotal: usize = 0, // a quantised B is a part, from element bFirst on, of the matrix of bTotal elements at b
  bFirst: usize = 0,
): void {
  const stride: usize = <usize>cRow << 2;
  const most = native ? NATIVE_DEPTH : DEPTH;
  const few = rows <= FEW && bColumn == 1 && aColumn == 1 && !isQuantised(kind);
  if (bias && (add || !native)) {
    addBias(bias, c, stride, rows, columns, add);
    add = true;
    bias = 0;
  }
  for (let j: u32 = 0; j < columns; j += WIDTH) {
    const width = min(WIDTH, columns - j);
    const to = c + (<usize>j << 2);
    for (let k: u32 = 0; k < inner; k += most) {
      const depth = min(most, inner - k);
      const first = bFirst + <usize>k * bRow + <usize>j * bColumn;
      const left = a + ((<usize>k * aColumn) << 2);
      const onto = add || k > 0;
      const from = onto ? to : bias ? bias + (<usize>j << 2) : 0;
      if (few) {
        fewTimesBlock(rows, width, depth, left, <usize>aRow << 2, b + (first << shiftOf(kind)), bRow, kind, to, stride, from, onto);
        continue;
      }
      packPanels(b, kind, bTotal, first, bRow, bColumn, depth, width);
      if (native) machineBlock(rows, width, depth, left, aRow, aColumn, to, stride, from, onto ? stride : 0);
      else rowsTimesBlock(rows, width, depth, left, aRow, aColumn, to, stride, onto);
    }
  }
}

/** The packed block of B times all rows of A. */
function machineBlock(
  rows: u32, width: u32, depth: u32, a: usize, aRow: u32, aColumn: u32, c: usize, stride: usize, from: usize, fromRow: usize,
): void {
  const block = scratch + BLOCK;
  if (aColumn == 1) {
    nativeProduct(rows, width, depth, a, <usize>aRow << 2, block, from, fromRow, c, stride);
    return;
  }
  for (let i: u32 = 0; i < rows; i += HEIGHT) {
    const height = min(HEIGHT, rows - i);
    packStrips(a + ((<usize>i * aRow) << 2), <usize>aColumn << 2, depth, height, scratch + STRIP);
    nativeProduct(height, width, depth, scratch + STRIP, 0, block, from, fromRow, c, stride);
    c += <usize>HEIGHT * stride;
    if (from) from += <usize>HEIGHT * fromRow;
  }
}

/** C = bias, or + bias. */
function addBias(bias: usize, c: usize, stride: usize, rows: u32, columns: u32, add: bool): void {
  for (let r: u32 = 0; r < rows; r++) {
    for (let x: u32 = 0; x < columns; x += 4) {
      const at: usize = <usize>x << 2;
      const added = v128.load(bias + at);
      storeFirst(c + at, add ? f32x4.add(added, v128.load(c + at)) : added, columns - x);
    }
    c += stride;
  }
}

/** A few rows of A times a block of B where it lies: the sums are held in the scratch memory. */
function fewTimesBlock(
  rows: u32, width: u32, depth: u32, a: usize, aRow: usize, b: usize, bRow: u32, kind: u32,
  c: usize, stride: usize, from: usize, onto: bool,
): void {
  const sums = scratch + BLOCK;
  const sumsRow: usize = <usize>((width + 7) & ~7) << 2;
  const bBytes: usize = <usize>bRow << shiftOf(kind);
  memory.fill(sums, 0, <usize>rows * sumsRow);
  if (native) fewRows(kind, rows, (width + 7) & ~7, depth, a, aRow, b, bBytes, sums, sumsRow);
  else if (kind == FLOAT32) rowsOfB(rows, width, depth, a, aRow, b, bBytes, sums, sumsRow, FLOAT32);
  else if (kind == BFLOAT16) rowsOfB(rows, width, depth, a, aRow, b, bBytes, sums, sumsRow, BFLOAT16);
  else rowsOfB(rows, width, depth, a, aRow, b, bBytes, sums, sumsRow, FLOAT16);
  for (let r: u32 = 0; r < rows; r++) {
    const sum = sums + <usize>r * sumsRow;
    const to = c + <usize>r * stride;
    const added = from + (onto ? <usize>r * stride : <usize>0);
    for (let x: u32 = 0; x < width; x += 4) {
      const at: usize = <usize>x << 2;
      const v = v128.load(sum + at);
      storeFirst(to + at, from ? f32x4.add(v, v128.load(added + at)) : v, width - x);
    }
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
