// Parts of A and B laid out in the scratch memory. As gemm.ts walks over them: B in panels of 8 columns, A in strips of 6 rows with
// every element spread to a whole vector. As src/device/cpu/native/product.ts does: see pack.ts beside it.
import { native, scratch } from "./job";
import { BFLOAT16, FLOAT16, FLOAT32, half1, isQuantised, load4, lower4, NF4, shiftOf, upper4 } from "./math";
import { packColumns, packRows as nativePackRows, packWords } from "./native";
import { expand, expandTile } from "./quantised";

export const ROWS: u32 = 6;
export const COLUMNS: u32 = 8;
/** Steps along the inner dimension that are summed before they are added to what is there: a sum's bits depend on it. */
export const DEPTH: u32 = 192;
export const NATIVE_DEPTH: u32 = 256;
/** Columns of B that are packed at a time: whole panels of either size. */
export const WIDTH: u32 = 768;
/** Rows of A that are packed at a time for machine code: whole strips. */
export const HEIGHT: u32 = 192;

/** Where a product's packed parts lie in the scratch memory, and what follows them. */
export const TILE: usize = 0;
/** Room for 64 floats of the caller's own. */
export const SPARE: usize = 256;
export const STRIP: usize = 512;
/** Strips and panels of machine code have 64 bytes behind them. */
export const BLOCK: usize = STRIP + <usize>((HEIGHT / ROWS) * (NATIVE_DEPTH * ROWS * 4 + 64));
export const FREE: usize = BLOCK + <usize>((NATIVE_DEPTH + 1) * WIDTH * 4);

/** A part of B, stored as `kind` says, into panels of 8 columns, or of 16 for machine code. */
export function packPanels(
  b: usize, kind: u32, total: usize, first: usize, row: u32, column: u32, depth: u32, width: u32,
): void {
  const at = b + (first << (isQuantised(kind) ? 0 : shiftOf(kind)));
  if (isQuantised(kind)) packQuantised(b, kind, total, first, row, column, depth, width);
  else if (native) packNative(kind, at, row, column, depth, width, scratch + BLOCK);
  else if (kind == FLOAT32) packB(at, row, column, depth, width);
  else if (kind == BFLOAT16) packHalf(at, row, column, depth, width, BFLOAT16);
  else packHalf(at, row, column, depth, width, FLOAT16);
}

function packNative(kind: u32, b: usize, row: u32, column: u32, depth: u32, width: u32, to: usize): void {
  if (column == 1) nativePackRows(kind, b, <usize>row << shiftOf(kind), depth, width, to);
  else packColumns(kind, b, <usize>column << shiftOf(kind), depth, width, to);
}

/** depth x width of B into panels of 8 columns, zeros behind the last column. */
function packB(b: usize, row: u32, column: u32, depth: u32, width: u32, to: usize = scratch + BLOCK): void {
  const rowBytes: usize = <usize>row << 2;
  const columnBytes: usize = <usize>column << 2;
  let j: u32 = 0;
  if (column == 1) {
    // Several panels at a time: a run of each row, so that lines of memory are read once and in order.
    for (; width - j >= COLUMNS; ) {
      const panels = min(PANELS, (width - j) / COLUMNS);
      packRows(b + (<usize>j << 2), rowBytes, depth, panels, to);
      j += panels * COLUMNS;
      to += (<usize>(panels * depth)) << 5;
    }
  }
  for (; j < width; j += COLUMNS) {
    const from = b + <usize>j * columnBytes;
    const here = min(COLUMNS, width - j);
    if (here == COLUMNS && row == 1) packEight(from, columnBytes, depth, to);
    else packPart(from, rowBytes, columnBytes, depth, here, to);
    to += <usize>depth << 5;
  }
}

/** Columns of a quantised B that are turned into floats at a time. */
const RUN: u32 = 64;

/** The same for a quantised B, whose elements begin with `first` of the matrix of `total` elements at `b`. One stride is 1. */
function packQuantised(
  b: usize, kind: u32, total: usize, first: usize, row: u32, column: u32, depth: u32, width: u32,
): void {
  const floats = scratch + FREE;
  const straight = row == 1;
  const columns = straight ? column : row;
  const rows = <u32>(total / columns);
  const at = <u32>(first / columns);
  const k = <u32>(first % columns);
  if (native && straight && kind != NF4 && (depth & 7) == 0) {
    packWords(b, kind, rows, columns, k, depth, at, width, scratch + BLOCK);
    return;
  }
  for (let j: u32 = 0; j < width; j += RUN) {
    const here = min(RUN, width - j);
    const to = scratch + BLOCK + ((<usize>j * (native ? depth + 1 : depth)) << 2);
    if (kind == NF4) packNf4(b, total, first + <usize>j * column, row, column, depth, here, to);
    else if (straight) {
      expandTile(b, kind, rows, columns, k, depth, at + j, here, floats, RUN);
      packFloats(floats, RUN, 1, depth, here, to);
    } else {
      const stride = (depth + 3) & ~3;
      expandTile(b, kind, rows, columns, k + j, here, at, depth, floats, stride);
      packFloats(floats, 1, stride, depth, here, to);
    }
  }
}

function packNf4(b: usize, total: usize, first: usize, row: u32, column: u32, depth: u32, width: u32, to: usize): void {
  const floats = scratch + FREE;
  if (row == 1) {
    for (let x: u32 = 0; x < width; x++)
      expand(b, NF4, total, column, first + <usize>x * column, depth, floats + ((<usize>x * depth) << 2));
    packFloats(floats, 1, depth, depth, width, to);
  } else {
    for (let k: u32 = 0; k < depth; k++)
      expand(b, NF4, total, row, first + <usize>k * row, width, floats + ((<usize>k * width) << 2));
    packFloats(floats, width, 1, depth, width, to);
  }
}

function packFloats(floats: usize, row: u32, column: u32, depth: u32, width: u32, to: usize): void {
  if (native) packNative(FLOAT32, floats, row, column, depth, width, to);
  else packB(floats, row, column, depth, width, to);
}

/** The same for a B of 16-bit numbers. */
@inline
function packHalf(b: usize, row: u32, column: u32, depth: u32, width: u32, kind: u32): void {
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
        v128.store(to, lower4(v, kind), 0);
        v128.store(to, upper4(v, kind), 16);
        to += 32;
        from += rowBytes;
      }
      continue;
    }
    if (here == COLUMNS && row == 1) {
      for (; k + 4 <= depth; k += 4) {
        transposeHalf(from + (<usize>k << 1), columnBytes, to, kind);
        transposeHalf(from + (columnBytes << 2) + (<usize>k << 1), columnBytes, to + 16, kind);
        to += 128;
      }
    }
    for (; k < depth; k++) {
      let at = from + <usize>k * rowBytes;
      for (let x: u32 = 0; x < COLUMNS; x++) {
        store<f32>(to, x < here ? half1(at, kind) : 0);
        at += columnBytes;
        to += 4;
      }
    }
  }
}

/** Panels of B that are packed at a time where its rows lie straight in memory. */
const PANELS: u32 = 8;

function packRows(from: usize, rowBytes: usize, depth: u32, panels: u32, to: usize): void {
  const step: usize = <usize>depth << 5;
  const run: usize = <usize>panels << 5;
  for (let k: u32 = 0; k < depth; k++) {
    let panel = to;
    for (let at: usize = 0; at < run; at += 32) {
      v128.store(panel, v128.load(from + at, 0), 0);
      v128.store(panel, v128.load(from + at, 16), 16);
      panel += step;
    }
    to += 32;
    from += rowBytes;
  }
}

/** Eight columns that each lie straight in memory: transposed four by four. */
function packEight(from: usize, columnBytes: usize, depth: u32, to: usize): void {
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
function transposeHalf(from: usize, columnBytes: usize, to: usize, kind: u32): void {
  const c0 = load4(from, kind);
  const c1 = load4(from + columnBytes, kind);
  const c2 = load4(from + (columnBytes << 1), kind);
  const c3 = load4(from + (columnBytes << 1) + columnBytes, kind);
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
export function packA(a: usize, row: u32, column: u32, height: u32, depth: u32): void {
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
