// A packed block of B times rows of A, in WebAssembly's vectors: what product.ts does where there is no machine code.
//
// A tile of ROWS x 8 of C is held in registers while it walks over DEPTH of the inner dimension. B is packed in panels of 8
// columns, so that it is read straight through; A in strips of 6 rows, every element spread to a whole vector, so that no
// instruction is spent on spreading it; a strip of at most 4 rows costs a shorter tile. A strip stays in the first cache, a block
// of B in the second. The layout follows Goto and van de Geijn, https://doi.org/10.1145/1356052.1356053.
import { scratch } from "./job";
import { madd, storeFirst } from "./math";
import { BLOCK, COLUMNS, packA, ROWS, STRIP, TILE } from "./pack";

/** One packed block of B, `depth` x `width`, times all rows of A. */
export function rowsTimesBlock(
  rows: u32, width: u32, depth: u32, a: usize, aRow: u32, aColumn: u32, c: usize, stride: usize, onto: bool,
): void {
  let height: u32 = 0;
  for (let i: u32 = 0; i < rows; i += height) {
    // Seven or eight rows are two short strips.
    height = rows - i == 7 || rows - i == 8 ? SHORT : min(ROWS, rows - i);
    packA(a + ((<usize>i * aRow) << 2), aRow, aColumn, height, depth);
    strip(depth, height, width, c + <usize>i * stride, stride, onto);
  }
}

/** Rows of a strip that is not worth a whole one. */
const SHORT: u32 = 4;

/** One packed strip of A times the packed block of B. */
function strip(depth: u32, height: u32, width: u32, c: usize, stride: usize, onto: bool): void {
  let panel = scratch + BLOCK;
  const step: usize = <usize>depth << 5;
  let left = width;
  if (height == ROWS || height == SHORT) {
    for (; left >= COLUMNS; left -= COLUMNS) {
      if (height == ROWS) tile(depth, scratch + STRIP, panel, c, stride, onto);
      else shortTile(depth, scratch + STRIP, panel, c, stride, onto);
      panel += step;
      c += 32;
    }
    if (left == 0) return;
  }
  while (true) {
    const here = min(left, COLUMNS);
    if (height > SHORT) tile(depth, scratch + STRIP, panel, scratch + TILE, 32, false);
    else shortTile(depth, scratch + STRIP, panel, scratch + TILE, 32, false);
    copyTile(height, here, c, stride, onto);
    if (left <= COLUMNS) return;
    left -= COLUMNS;
    panel += step;
    c += 32;
  }
}

/** The part of the spare tile that is inside C. */
function copyTile(height: u32, width: u32, c: usize, stride: usize, onto: bool): void {
  for (let i: u32 = 0; i < height; i++) {
    const from = scratch + TILE + (<usize>i << 5);
    const first = v128.load(from);
    const second = v128.load(from, 16);
    storeFirst(c, onto ? f32x4.add(v128.load(c), first) : first, width);
    if (width > 4) storeFirst(c + 16, onto ? f32x4.add(v128.load(c, 16), second) : second, width - 4);
    c += stride;
  }
}

// Twelve sums, two vectors of B and one of A: all fifteen free registers of x86. The inner loop is not unrolled, because
// compilers reorder what they unroll until the sums spill.
function tile(depth: u32, a: usize, b: usize, c: usize, stride: usize, onto: bool): void {
  let s00 = f32x4.splat(0);
  let s01 = f32x4.splat(0);
  let s10 = f32x4.splat(0);
  let s11 = f32x4.splat(0);
  let s20 = f32x4.splat(0);
  let s21 = f32x4.splat(0);
  let s30 = f32x4.splat(0);
  let s31 = f32x4.splat(0);
  let s40 = f32x4.splat(0);
  let s41 = f32x4.splat(0);
  let s50 = f32x4.splat(0);
  let s51 = f32x4.splat(0);
  let v: v128;
  let b0: v128;
  let b1: v128;
  for (; depth > 0; depth--) {
    b0 = v128.load(b, 0);
    b1 = v128.load(b, 16);
    v = v128.load(a, 0);
    s00 = madd(v, b0, s00);
    s01 = madd(v, b1, s01);
    v = v128.load(a, 16);
    s10 = madd(v, b0, s10);
    s11 = madd(v, b1, s11);
    v = v128.load(a, 32);
    s20 = madd(v, b0, s20);
    s21 = madd(v, b1, s21);
    v = v128.load(a, 48);
    s30 = madd(v, b0, s30);
    s31 = madd(v, b1, s31);
    v = v128.load(a, 64);
    s40 = madd(v, b0, s40);
    s41 = madd(v, b1, s41);
    v = v128.load(a, 80);
    s50 = madd(v, b0, s50);
    s51 = madd(v, b1, s51);
    a += 96;
    b += 32;
  }
  if (onto) {
    addRow(c, s00, s01);
    addRow(c + stride, s10, s11);
    c += stride << 1;
    addRow(c, s20, s21);
    addRow(c + stride, s30, s31);
    c += stride << 1;
    addRow(c, s40, s41);
    addRow(c + stride, s50, s51);
  } else {
    storeRow(c, s00, s01);
    storeRow(c + stride, s10, s11);
    c += stride << 1;
    storeRow(c, s20, s21);
    storeRow(c + stride, s30, s31);
    c += stride << 1;
    storeRow(c, s40, s41);
    storeRow(c + stride, s50, s51);
  }
}

/** The first four rows of a tile. */
function shortTile(depth: u32, a: usize, b: usize, c: usize, stride: usize, onto: bool): void {
  let s00 = f32x4.splat(0);
  let s01 = f32x4.splat(0);
  let s10 = f32x4.splat(0);
  let s11 = f32x4.splat(0);
  let s20 = f32x4.splat(0);
  let s21 = f32x4.splat(0);
  let s30 = f32x4.splat(0);
  let s31 = f32x4.splat(0);
  let v: v128;
  let b0: v128;
  let b1: v128;
  for (; depth > 0; depth--) {
    b0 = v128.load(b, 0);
    b1 = v128.load(b, 16);
    v = v128.load(a, 0);
    s00 = madd(v, b0, s00);
    s01 = madd(v, b1, s01);
    v = v128.load(a, 16);
    s10 = madd(v, b0, s10);
    s11 = madd(v, b1, s11);
    v = v128.load(a, 32);
    s20 = madd(v, b0, s20);
    s21 = madd(v, b1, s21);
    v = v128.load(a, 48);
    s30 = madd(v, b0, s30);
    s31 = madd(v, b1, s31);
    a += 96;
    b += 32;
  }
  if (onto) {
    addRow(c, s00, s01);
    addRow(c + stride, s10, s11);
    c += stride << 1;
    addRow(c, s20, s21);
    addRow(c + stride, s30, s31);
  } else {
    storeRow(c, s00, s01);
    storeRow(c + stride, s10, s11);
    c += stride << 1;
    storeRow(c, s20, s21);
    storeRow(c + stride, s30, s31);
  }
}

@inline
function storeRow(c: usize, first: v128, second: v128): void {
  v128.store(c, first, 0);
  v128.store(c, second, 16);
}

@inline
function addRow(c: usize, first: v128, second: v128): void {
  v128.store(c, f32x4.add(v128.load(c, 0), first), 0);
  v128.store(c, f32x4.add(v128.load(c, 16), second), 16);
}
