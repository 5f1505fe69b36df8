// C = A B (+ bias) (+ C) on one thread, blocked for the caches: the inside of every matrix product, attention's too.
//
// Strides are in elements. (row, column) strides of A and B say every transposition; one of the two is 1. Each element of C is one
// sum of products in the order of the inner dimension, over DEPTH of it at a time, each added to what was there: whatever the shape
// and the block, so a row's result does not depend on what is computed beside it.
import { native, scratch } from "./job";
import { rowsTimesBlock } from "./gemm";
import { areFew, fewTimesBlock } from "./few";
import { FLOAT32, isQuantised, NF4, shiftOf, storeFirst } from "./math";
import { nativeProduct, packStrips } from "./native";
import { BLOCK, DEPTH, HEIGHT, NATIVE_DEPTH, packPanels, STRIP, WIDTH } from "./pack";

/** Columns at a time where few rows meet columns that lie straight. */
const NARROW: u32 = 32;

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
  const read = isQuantised(kind) ? kind != NF4 && bRow == 1 && (inner & 7) == 0 : bColumn == 1 || (inner & 7) == 0;
  const few = areFew(rows) && aColumn == 1 && read;
  if (bias && (add || !native)) {
    addBias(bias, c, stride, rows, columns, add);
    add = true;
    bias = 0;
  }
  // Columns that lie straight are walked to their ends before the next.
  const widest = few && bColumn != 1 && !isQuantised(kind) ? NARROW : WIDTH;
  for (let j: u32 = 0; j < columns; j += widest) {
    const width = min(widest, columns - j);
    const to = c + (<usize>j << 2);
    for (let k: u32 = 0; k < inner; k += most) {
      const depth = min(most, inner - k);
      const first = bFirst + <usize>k * bRow + <usize>j * bColumn;
      const left = a + ((<usize>k * aColumn) << 2);
      const onto = add || k > 0;
      const from = onto ? to : bias ? bias + (<usize>j << 2) : 0;
      if (few) {
        const block = isQuantised(kind) ? b : b + (first << shiftOf(kind));
        const fromRow: usize = onto ? stride : 0;
        fewTimesBlock(rows, width, depth, left, aRow, block, bRow, bColumn, kind, bTotal, first, to, stride, from, fromRow);
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
