// C = op(A) op(B) (+ bias) (then GELU) (+ C). A may be a run of columns of a wider matrix, from a_first on with rows a_stride
// apart, and so may C. A unit is a block of C, or for few rows a run of columns.
import {
  ACCUMULATE, BIAS, constant, GELU, STORED, input, output, param, SCRATCH_BYTES, scratch, TRANSPOSE_A, TRANSPOSE_B, take, threads,
} from "./job";
import { product } from "./gemm";
import { COLUMNS, FREE, ROWS } from "./pack";
import { expand } from "./quantised";
import {
  BFLOAT16, dot, dotHalf, FLOAT16, FLOAT32, gelu4, isQuantised, load4, madd, shiftOf, storeFirst,
} from "./math";

/** Rows up to which B is read straight from memory once a row, instead of being packed. */
const FEW: u32 = 4;

export function forward(job: usize): void {
  const rows = param(job, 0);
  const inner = param(job, 2);
  const turned = isQuantised(constant(job, STORED)) && !constant(job, TRANSPOSE_B);
  if (rows <= FEW && !turned && FREE + ((<usize>(rows + 1) * inner) << 2) < SCRATCH_BYTES) few(job);
  else blocks(job);
}

function blocks(job: usize): void {
  const rows = param(job, 0);
  const columns = param(job, 1);
  const inner = param(job, 2);
  const transposeA = constant(job, TRANSPOSE_A) != 0;
  const transposeB = constant(job, TRANSPOSE_B) != 0;
  const aStride = param(job, 4);
  const stride = param(job, 6);
  const aRow: u32 = transposeA ? 1 : aStride;
  const aColumn: u32 = transposeA ? aStride : 1;
  const bRow: u32 = transposeB ? 1 : columns;
  const bColumn: u32 = transposeB ? inner : 1;

  const shape = shapeOf(rows, columns, transposeB);
  const height = shape >> 16;
  const width = shape & 0xffff;
  const down = (rows + height - 1) / height;
  const across = (columns + width - 1) / width;
  const kind = constant(job, STORED);
  const units = down * across;
  for (let unit = take(job, 1); unit < units; unit = take(job, 1)) {
    const i = (unit % down) * height;
    const j = (unit / down) * width;
    const high = min(height, rows - i);
    const wide = min(width, columns - j);
    const c = output(job) + ((<usize>param(job, 5) + <usize>i * stride + j) << 2);
    const a = input(job, 0) + ((<usize>param(job, 3) + <usize>i * aRow) << 2);
    const first = <usize>j * bColumn;
    const b = input(job, 1) + (isQuantised(kind) ? 0 : first << shiftOf(kind));
    const onto = before(job, c, stride, j, high, wide);
    product(high, wide, inner, a, aRow, aColumn, b, bRow, bColumn, c, stride, onto, kind, <usize>columns * inner, first);
    if (constant(job, GELU)) for (let r: u32 = 0; r < high; r++) geluRow(c + ((<usize>r * stride) << 2), wide);
  }
}

/** The largest block: its part of B, and of C, stay in the second cache. */
const TALLEST: u32 = 384;
const WIDEST: u32 = 512;

/**
 * Height and width of the blocks (height << 16 | width) for which the last thread is expected to be done first. Costs are in
 * cycles for one step along the inner dimension: 6 for a tile, 8 to pack a strip of A, 3 or 5 to pack a panel of B.
 */
function shapeOf(rows: u32, columns: u32, transposeB: bool): u32 {
  let best: u32 = 0;
  let least = u64.MAX_VALUE;
  for (let down = (rows + TALLEST - 1) / TALLEST; ; down++) {
    const height = roundUp((rows + down - 1) / down, ROWS);
    for (let across = (columns + WIDEST - 1) / WIDEST; ; across++) {
      const width = roundUp((columns + across - 1) / across, COLUMNS);
      const strips = height / ROWS;
      const panels = width / COLUMNS;
      const unit = 6 * strips * panels + 8 * strips + (transposeB ? 5 : 3) * panels;
      const units = ((rows + height - 1) / height) * ((columns + width - 1) / width);
      // Threads do not run at one speed: on average the last one has a part of a unit left.
      const cost = <u64>(4 * ((units + threads - 1) / threads) + 1) * unit;
      if (cost < least) {
        least = cost;
        best = (height << 16) | width;
      }
      if (width <= 64 || units > 16 * threads && across > 1) break;
    }
    if (height <= 24 || down > 16 * threads) break;
  }
  return best;
}

@inline
function roundUp(v: u32, to: u32): u32 {
  return ((v + to - 1) / to) * to;
}

/** Puts the bias into a block of C, or onto it. Whether the product is then to be added to what is there. */
function before(job: usize, c: usize, stride: u32, j: u32, high: u32, wide: u32): bool {
  const accumulate = constant(job, ACCUMULATE) != 0;
  // The sum of an old C and a GELU has no place for the product: no op asks for it.
  if (accumulate && constant(job, GELU)) unreachable();
  if (!constant(job, BIAS)) return accumulate;
  const bias = input(job, 2) + (<usize>j << 2);
  for (let r: u32 = 0; r < high; r++) {
    for (let x: u32 = 0; x < wide; x += 4) {
      const at: usize = <usize>x << 2;
      const added = v128.load(bias + at);
      storeFirst(c + at, accumulate ? f32x4.add(added, v128.load(c + at)) : added, wide - x);
    }
    c += <usize>stride << 2;
  }
  return true;
}

function geluRow(c: usize, count: u32): void {
  for (let x: u32 = 0; x < count; x += 4) {
    const at: usize = <usize>x << 2;
    storeFirst(c + at, gelu4(v128.load(c + at)), count - x);
  }
}

/** Columns of a unit where rows are few. */
const RUN: u32 = 256;

/** Products of a few rows: decoding. B passes by once, and is the whole cost. */
function few(job: usize): void {
  const rows = param(job, 0);
  const columns = param(job, 1);
  const inner = param(job, 2);
  const run: u32 = constant(job, TRANSPOSE_B) ? 32 : RUN;
  const a = straightA(job, rows, inner);
  for (let j = take(job, run); j < columns; j = take(job, run)) {
    const wide = min(run, columns - j);
    const c = output(job) + ((<usize>param(job, 5) + j) << 2);
    const stride = param(job, 6);
    const onto = before(job, c, stride, j, rows, wide);
    if (!onto) for (let r: u32 = 0; r < rows; r++) memory.fill(c + ((<usize>r * stride) << 2), 0, <usize>wide << 2);
    const b = input(job, 1);
    const kind = constant(job, STORED);
    if (isQuantised(kind)) quantisedDots(job, a, c, j, wide, kind);
    else if (constant(job, TRANSPOSE_B)) dots(a, b + ((<usize>j * inner) << shiftOf(kind)), c, rows, stride, inner, wide, kind);
    else if (kind == FLOAT32) rowsOfB(a, b + (<usize>j << 2), c, rows, columns, stride, inner, wide, FLOAT32);
    else if (kind == BFLOAT16) rowsOfB(a, b + (<usize>j << 1), c, rows, columns, stride, inner, wide, BFLOAT16);
    else rowsOfB(a, b + (<usize>j << 1), c, rows, columns, stride, inner, wide, FLOAT16);
    if (constant(job, GELU)) for (let r: u32 = 0; r < rows; r++) geluRow(c + ((<usize>r * stride) << 2), wide);
  }
}

/** A with each row straight in memory. */
function straightA(job: usize, rows: u32, inner: u32): usize {
  const a = input(job, 0) + (<usize>param(job, 3) << 2);
  const stride = param(job, 4);
  if (!constant(job, TRANSPOSE_A) && stride == inner) return a;
  const to = scratch + FREE;
  for (let k: u32 = 0; k < inner; k++) {
    for (let r: u32 = 0; r < rows; r++) {
      const at = constant(job, TRANSPOSE_A) ? <usize>k * stride + r : <usize>r * stride + k;
      store<f32>(to + ((<usize>r * inner + k) << 2), load<f32>(a + (at << 2)));
    }
  }
  return to;
}

/** sum of a[i] b[i], b of any kind. */
function product1(a: usize, b: usize, count: u32, kind: u32): f32 {
  if (kind == FLOAT32) return dot(a, b, count);
  if (kind == BFLOAT16) return dotHalf(a, b, count, BFLOAT16);
  return dotHalf(a, b, count, FLOAT16);
}

function dots(a: usize, b: usize, c: usize, rows: u32, stride: u32, inner: u32, wide: u32, kind: u32): void {
  for (let j: u32 = 0; j < wide; j++) {
    for (let r: u32 = 0; r < rows; r++) {
      const at = c + ((<usize>r * stride + j) << 2);
      const row = a + ((<usize>r * inner) << 2);
      store<f32>(at, load<f32>(at) + product1(row, b, inner, kind));
    }
    b += <usize>inner << shiftOf(kind);
  }
}

/** The same where B is quantised: each of its rows is turned into floats once. */
function quantisedDots(job: usize, a: usize, c: usize, j: u32, wide: u32, kind: u32): void {
  const rows = param(job, 0);
  const inner = param(job, 2);
  const stride = param(job, 6);
  const total = <usize>param(job, 1) * inner;
  const floats = scratch + FREE + ((<usize>rows * inner) << 2);
  for (let x: u32 = 0; x < wide; x++) {
    expand(input(job, 1), kind, total, inner, <usize>(j + x) * inner, inner, floats);
    for (let r: u32 = 0; r < rows; r++) {
      const at = c + ((<usize>r * stride + x) << 2);
      store<f32>(at, load<f32>(at) + dot(a + ((<usize>r * inner) << 2), floats, inner));
    }
  }
}

/** C += A B by rows of B, four at a time. */
@inline
function rowsOfB(
  a: usize, b: usize, c: usize, rows: u32, columns: u32, cStride: u32, inner: u32, wide: u32, kind: u32,
): void {
  const shift = shiftOf(kind);
  const stride: usize = <usize>columns << shift;
  const cBytes: usize = <usize>cStride << 2;
  let k: u32 = 0;
  for (; k + 4 <= inner; k += 4) {
    for (let r: u32 = 0; r < rows; r++) {
      const factors = v128.load(a + ((<usize>r * inner + k) << 2));
      fourRows(factors, b, stride, c + <usize>r * cBytes, wide, kind);
    }
    b += stride << 2;
  }
  for (; k < inner; k++) {
    for (let r: u32 = 0; r < rows; r++) {
      const factor = v128.load32_splat(a + ((<usize>r * inner + k) << 2));
      const to = c + <usize>r * cBytes;
      for (let x: u32 = 0; x < wide; x += 4) {
        const at: usize = <usize>x << 2;
        storeFirst(to + at, madd(factor, load4(b + (<usize>x << shift), kind), v128.load(to + at)), wide - x);
      }
    }
    b += stride;
  }
}

@inline
function fourRows(factors: v128, b: usize, stride: usize, c: usize, wide: u32, kind: u32): void {
  const f0 = v128.shuffle<f32>(factors, factors, 0, 0, 0, 0);
  const f1 = v128.shuffle<f32>(factors, factors, 1, 1, 1, 1);
  const f2 = v128.shuffle<f32>(factors, factors, 2, 2, 2, 2);
  const f3 = v128.shuffle<f32>(factors, factors, 3, 3, 3, 3);
  const b1 = b + stride;
  const b2 = b1 + stride;
  const b3 = b2 + stride;
  for (let x: u32 = 0; x < wide; x += 4) {
    const at: usize = <usize>x << 2;
    const from: usize = kind == FLOAT32 ? at : at >> 1;
    const low = madd(f0, load4(b + from, kind), f32x4.mul(f1, load4(b1 + from, kind)));
    const high = madd(f2, load4(b2 + from, kind), f32x4.mul(f3, load4(b3 + from, kind)));
    storeFirst(c + at, f32x4.add(v128.load(c + at), f32x4.add(low, high)), wide - x);
  }
}
