// C = A B (+ C) on one thread, blocked for the caches: the inside of every matrix product, attention's too.
//
// A tile of ROWS x 8 of C is held in registers while it walks over DEPTH of the inner dimension. B is packed in panels of 8
// columns, so that it is read straight through; A in strips of 6 rows, every element spread to a whole vector, so that no
// instruction is spent on spreading it. A strip stays in the first cache, a block of B in the second. The layout follows
// Goto and van de Geijn, https://doi.org/10.1145/1356052.1356053.
//
// Strides are in elements. (row, column) strides of A and B say every transposition. Each element of C is summed over the
// inner dimension in an order that depends on DEPTH alone, so tiles may be cut anywhere.
import { scratch } from "./job";
import { half1, load4, lower4, madd, storeFirst, upper4 } from "./math";

export const ROWS: u32 = 6;
export const COLUMNS: u32 = 8;
export const DEPTH: u32 = 192;
/** Columns of B that are packed at a time. */
export const WIDTH: u32 = 768;

/** Where a product's packed parts lie in the scratch memory, and what follows them. */
const TILE: usize = 0;
/** Room for 64 floats of the caller's own. */
export const SPARE: usize = 256;
const STRIP: usize = 512;
const BLOCK: usize = STRIP + <usize>(DEPTH * ROWS * 16);
export const FREE: usize = BLOCK + <usize>(DEPTH * WIDTH * 4);

export function product(
  rows: u32, columns: u32, inner: u32,
  a: usize, aRow: u32, aColumn: u32,
  b: usize, bRow: u32, bColumn: u32,
  c: usize, cRow: u32,
  add: bool,
  half: bool = false, // B is bfloat16
): void {
  const stride: usize = <usize>cRow << 2;
  for (let j: u32 = 0; j < columns; j += WIDTH) {
    const width = min(WIDTH, columns - j);
    for (let k: u32 = 0; k < inner; k += DEPTH) {
      const depth = min(DEPTH, inner - k);
      const onto = add || k > 0;
      const at = <usize>k * bRow + <usize>j * bColumn;
      if (half) packHalf(b + (at << 1), bRow, bColumn, depth, width);
      else packB(b + (at << 2), bRow, bColumn, depth, width);
      for (let i: u32 = 0; i < rows; i += ROWS) {
        const height = min(ROWS, rows - i);
        packA(a + ((<usize>i * aRow + <usize>k * aColumn) << 2), aRow, aColumn, height, depth);
        strip(depth, height, width, c + <usize>i * stride + (<usize>j << 2), stride, onto);
      }
    }
  }
}

/** One packed strip of A times the packed block of B. */
function strip(depth: u32, height: u32, width: u32, c: usize, stride: usize, onto: bool): void {
  let panel = scratch + BLOCK;
  const step: usize = <usize>depth << 5;
  let left = width;
  if (height == ROWS) {
    for (; left >= COLUMNS; left -= COLUMNS) {
      tile(depth, scratch + STRIP, panel, c, stride, onto);
      panel += step;
      c += 32;
    }
    if (left == 0) return;
  }
  while (true) {
    const here = min(left, COLUMNS);
    tile(depth, scratch + STRIP, panel, scratch + TILE, 32, false);
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

/** depth x width of B into panels of 8 columns, zeros behind the last column. */
function packB(b: usize, row: u32, column: u32, depth: u32, width: u32): void {
  const rowBytes: usize = <usize>row << 2;
  const columnBytes: usize = <usize>column << 2;
  let to = scratch + BLOCK;
  for (let j: u32 = 0; j < width; j += COLUMNS) {
    const from = b + <usize>j * columnBytes;
    const here = min(COLUMNS, width - j);
    if (here == COLUMNS && column == 1) packRows(from, rowBytes, depth, to);
    else if (here == COLUMNS && row == 1) packColumns(from, columnBytes, depth, to);
    else packPart(from, rowBytes, columnBytes, depth, here, to);
    to += <usize>depth << 5;
  }
}

/** The same for a B of bfloat16s. */
function packHalf(b: usize, row: u32, column: u32, depth: u32, width: u32): void {
  const rowBytes: usize = <usize>row << 1;
  const columnBytes: usize = <usize>column << 1;
  let to = scratch + BLOCK;
  for (let j: u32 = 0; j < width; j += COLUMNS) {
    let from = b + <usize>j * columnBytes;
    const here = min(COLUMNS, width - j);
    let k: u32 = 0;
    if (here == COLUMNS && column == 1) {
      for (; k < depth; k++) {
        const v = v128.load(from);
        v128.store(to, lower4(v), 0);
        v128.store(to, upper4(v), 16);
        to += 32;
        from += rowBytes;
      }
      continue;
    }
    if (here == COLUMNS && row == 1) {
      for (; k + 4 <= depth; k += 4) {
        transposeHalf(from + (<usize>k << 1), columnBytes, to);
        transposeHalf(from + (columnBytes << 2) + (<usize>k << 1), columnBytes, to + 16);
        to += 128;
      }
    }
    for (; k < depth; k++) {
      let at = from + <usize>k * rowBytes;
      for (let x: u32 = 0; x < COLUMNS; x++) {
        store<f32>(to, x < here ? half1(at) : 0);
        at += columnBytes;
        to += 4;
      }
    }
  }
}

function packRows(from: usize, rowBytes: usize, depth: u32, to: usize): void {
  for (let k: u32 = 0; k < depth; k++) {
    v128.store(to, v128.load(from, 0), 0);
    v128.store(to, v128.load(from, 16), 16);
    to += 32;
    from += rowBytes;
  }
}

/** Eight columns that each lie straight in memory: transposed four by four. */
function packColumns(from: usize, columnBytes: usize, depth: u32, to: usize): void {
  const other = from + (columnBytes << 2);
  let k: u32 = 0;
  for (; k + 4 <= depth; k += 4) {
    transpose(from + (<usize>k << 2), columnBytes, to);
    transpose(other + (<usize>k << 2), columnBytes, to + 16);
    to += 128;
  }
  if (k < depth) packPart(from + (<usize>k << 2), 4, columnBytes, depth - k, COLUMNS, to);
}

@inline
function transpose(from: usize, columnBytes: usize, to: usize): void {
  const c0 = v128.load(from);
  const c1 = v128.load(from + columnBytes);
  const c2 = v128.load(from + (columnBytes << 1));
  const c3 = v128.load(from + (columnBytes << 1) + columnBytes);
  storeTransposed(c0, c1, c2, c3, to);
}

@inline
function transposeHalf(from: usize, columnBytes: usize, to: usize): void {
  const c0 = load4(from, true);
  const c1 = load4(from + columnBytes, true);
  const c2 = load4(from + (columnBytes << 1), true);
  const c3 = load4(from + (columnBytes << 1) + columnBytes, true);
  storeTransposed(c0, c1, c2, c3, to);
}

@inline
function storeTransposed(c0: v128, c1: v128, c2: v128, c3: v128, to: usize): void {
  const low01 = v128.shuffle<f32>(c0, c1, 0, 4, 1, 5);
  const high01 = v128.shuffle<f32>(c0, c1, 2, 6, 3, 7);
  const low23 = v128.shuffle<f32>(c2, c3, 0, 4, 1, 5);
  const high23 = v128.shuffle<f32>(c2, c3, 2, 6, 3, 7);
  v128.store(to, v128.shuffle<f32>(low01, low23, 0, 1, 4, 5));
  v128.store(to, v128.shuffle<f32>(low01, low23, 2, 3, 6, 7), 32);
  v128.store(to, v128.shuffle<f32>(high01, high23, 0, 1, 4, 5), 64);
  v128.store(to, v128.shuffle<f32>(high01, high23, 2, 3, 6, 7), 96);
}

function packPart(from: usize, rowBytes: usize, columnBytes: usize, depth: u32, width: u32, to: usize): void {
  for (let k: u32 = 0; k < depth; k++) {
    let at = from + <usize>k * rowBytes;
    for (let j: u32 = 0; j < COLUMNS; j++) {
      store<f32>(to, j < width ? load<f32>(at) : 0);
      at += columnBytes;
      to += 4;
    }
  }
}

/** Up to 6 rows of A, depth long, every element spread over a vector; zeros for rows that are not there. */
function packA(a: usize, row: u32, column: u32, height: u32, depth: u32): void {
  const rowBytes: usize = <usize>row << 2;
  const columnBytes: usize = <usize>column << 2;
  let to = scratch + STRIP;
  if (height == ROWS) {
    let p0 = a;
    let p1 = p0 + rowBytes;
    let p2 = p1 + rowBytes;
    let p3 = p2 + rowBytes;
    let p4 = p3 + rowBytes;
    let p5 = p4 + rowBytes;
    for (let k: u32 = 0; k < depth; k++) {
      v128.store(to, v128.load32_splat(p0), 0);
      v128.store(to, v128.load32_splat(p1), 16);
      v128.store(to, v128.load32_splat(p2), 32);
      v128.store(to, v128.load32_splat(p3), 48);
      v128.store(to, v128.load32_splat(p4), 64);
      v128.store(to, v128.load32_splat(p5), 80);
      p0 += columnBytes;
      p1 += columnBytes;
      p2 += columnBytes;
      p3 += columnBytes;
      p4 += columnBytes;
      p5 += columnBytes;
      to += 96;
    }
    return;
  }
  for (let k: u32 = 0; k < depth; k++) {
    let at = a + <usize>k * columnBytes;
    for (let i: u32 = 0; i < ROWS; i++) {
      v128.store(to, i < height ? v128.load32_splat(at) : f32x4.splat(0));
      at += rowBytes;
      to += 16;
    }
  }
}
