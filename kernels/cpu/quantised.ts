// Runs of a quantised matrix as floats. nf4: two elements a byte, the first in the high half; a scale for each block of 64,
// itself 8 bits of a map, times a scale for 256 blocks, plus an offset. int8: a scale for each row, four columns of it a word. int4: a
// scale and a least value for 64 columns of a row, eight of them a word. src/tensor/stored.ts says where in the words each part lies.
import { FLOAT16, half1, INT8, lower4, madd, NF4 } from "./math";

/** Elements of an nf4 block, and blocks that share a scale of their scales. */
const BLOCK: usize = 64;
const NESTED: usize = 256;

/** Elements [first, first + count) of the matrix of `total` elements at `b`: all of one row, which has `row` of them. */
@inline
export function expand(b: usize, kind: u32, total: usize, row: u32, first: usize, count: u32, to: usize): void {
  if (kind == NF4) expand4(b, total, first, count, to);
  else expandWords(b, kind, <u32>(total / row), row, <u32>(first / row), <u32>(first % row), count, to);
}

function expand4(b: usize, total: usize, first: usize, count: u32, to: usize): void {
  const blocks = (total + BLOCK - 1) / BLOCK;
  const scales = b + (((total + 7) / 8) << 2);
  const map = scales + (((blocks + 3) / 4) << 2);
  const scaleMap = map + 64;
  const nested = scaleMap + 1024;
  const offset = load<f32>(nested + (((blocks + NESTED - 1) / NESTED) << 2));

  // Byte p of each of the sixteen values: a code picks its value's bytes from four of these.
  const v0 = v128.load(map, 0);
  const v1 = v128.load(map, 16);
  const v2 = v128.load(map, 32);
  const v3 = v128.load(map, 48);
  const low01 = i8x16.shuffle(v0, v1, 0, 4, 8, 12, 16, 20, 24, 28, 1, 5, 9, 13, 17, 21, 25, 29);
  const low23 = i8x16.shuffle(v2, v3, 0, 4, 8, 12, 16, 20, 24, 28, 1, 5, 9, 13, 17, 21, 25, 29);
  const high01 = i8x16.shuffle(v0, v1, 2, 6, 10, 14, 18, 22, 26, 30, 3, 7, 11, 15, 19, 23, 27, 31);
  const high23 = i8x16.shuffle(v2, v3, 2, 6, 10, 14, 18, 22, 26, 30, 3, 7, 11, 15, 19, 23, 27, 31);
  const p0 = v128.shuffle<i64>(low01, low23, 0, 2);
  const p1 = v128.shuffle<i64>(low01, low23, 1, 3);
  const p2 = v128.shuffle<i64>(high01, high23, 0, 2);
  const p3 = v128.shuffle<i64>(high01, high23, 1, 3);

  const end = first + count;
  for (let i = first; i < end; ) {
    const block = i / BLOCK;
    const code: usize = load<u8>(scales + block);
    const scale = load<f32>(scaleMap + (code << 2)) * load<f32>(nested + ((block / NESTED) << 2)) + offset;
    const stop = min((block + 1) * BLOCK, end);
    const factor = f32x4.splat(scale);
    for (; i < stop && (i & 15) != 0; i++) {
      store<f32>(to, one(b, map, i) * scale);
      to += 4;
    }
    for (; i + 16 <= stop; i += 16) {
      const pairs = v128.load64_zero(b + (i >> 1));
      const codes = i8x16.shuffle(
        i8x16.shr_u(pairs, 4), v128.and(pairs, i8x16.splat(15)),
        0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23,
      );
      const b0 = i8x16.swizzle(p0, codes);
      const b1 = i8x16.swizzle(p1, codes);
      const b2 = i8x16.swizzle(p2, codes);
      const b3 = i8x16.swizzle(p3, codes);
      const w0 = i8x16.shuffle(b0, b1, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
      const w1 = i8x16.shuffle(b2, b3, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
      const w2 = i8x16.shuffle(b0, b1, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
      const w3 = i8x16.shuffle(b2, b3, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
      v128.store(to, f32x4.mul(v128.shuffle<i16>(w0, w1, 0, 8, 1, 9, 2, 10, 3, 11), factor), 0);
      v128.store(to, f32x4.mul(v128.shuffle<i16>(w0, w1, 4, 12, 5, 13, 6, 14, 7, 15), factor), 16);
      v128.store(to, f32x4.mul(v128.shuffle<i16>(w2, w3, 0, 8, 1, 9, 2, 10, 3, 11), factor), 32);
      v128.store(to, f32x4.mul(v128.shuffle<i16>(w2, w3, 4, 12, 5, 13, 6, 14, 7, 15), factor), 48);
      to += 64;
    }
    for (; i < stop; i++) {
      store<f32>(to, one(b, map, i) * scale);
      to += 4;
    }
  }
}

@inline
function one(b: usize, map: usize, i: usize): f32 {
  const byte: usize = load<u8>(b + (i >> 1));
  return load<f32>(map + ((i & 1 ? byte & 15 : byte >> 4) << 2));
}

/** Columns of an int8 or int4 matrix that share a scale: all of a row, or 64. */
const GROUP: u32 = 64;

/** Shift from columns to the words that hold them. */
@inline
export function wordShift(kind: u32): u32 {
  return kind == INT8 ? 2 : 3;
}

/** Where the scales of a matrix [rows, columns] begin. */
@inline
export function scalesOf(b: usize, kind: u32, rows: u32, columns: u32): usize {
  const each: u32 = 1 << wordShift(kind);
  return b + (<usize>((columns + each - 1) >> wordShift(kind)) * rows << 2);
}

/** Where those of the group of column `k` begin, and how far behind them the least values lie. */
@inline
export function groupScales(scales: usize, rows: u32, k: u32): usize {
  return scales + (<usize>(k / GROUP) * rows << 1);
}

@inline
export function leastBehind(rows: u32, columns: u32): usize {
  return <usize>(((columns + GROUP - 1) / GROUP) * rows + 1) >> 1 << 2;
}

/** Elements [first, first + count) of one row of an int8 or int4 matrix [rows, columns]. */
function expandWords(b: usize, kind: u32, rows: u32, columns: u32, row: u32, first: u32, count: u32, to: usize): void {
  const scales = scalesOf(b, kind, rows, columns);
  const least = leastBehind(rows, columns);
  let scale: f32 = kind == INT8 ? load<f32>(scales + (<usize>row << 2)) : 0;
  for (let k = first; k < first + count; k++) {
    const word = load<u32>(b + (<usize>((k >> wordShift(kind)) * rows + row) << 2));
    if (kind == INT8) {
      store<f32>(to, <f32>(<i32>(word << (24 - ((k & 3) << 3))) >> 24) * scale);
    } else {
      const at = groupScales(scales, rows, k) + (<usize>row << 1);
      store<f32>(to, <f32>((word >> ((k & 7) << 2)) & 15) * half1(at, FLOAT16) + half1(at + least, FLOAT16));
    }
    to += 4;
  }
}

/**
 * Columns [k, k + depth) of rows [row, row + width) of an int8 or int4 matrix [rows, columns] as floats, those of one column together:
 * `stride` floats apart, a multiple of 4, at least the width. k is a multiple of 8.
 */
export function expandTile(
  b: usize, kind: u32, rows: u32, columns: u32, k: u32, depth: u32, row: u32, width: u32, to: usize, stride: u32,
): void {
  const scales = scalesOf(b, kind, rows, columns);
  const least = leastBehind(rows, columns);
  const each: u32 = 1 << wordShift(kind);
  for (let done: u32 = 0; done < depth; done += each) {
    const here = min(each, depth - done);
    const words = b + (<usize>(((k + done) >> wordShift(kind)) * rows + row) << 2);
    const group = groupScales(scales, rows, k + done) + (<usize>row << 1);
    for (let x: u32 = 0; x < width; x += 4) {
      const four = v128.load(words + (<usize>x << 2));
      let at = to + ((<usize>done * stride + x) << 2);
      if (kind == INT8) {
        const scale = v128.load(scales + (<usize>(row + x) << 2));
        for (let s: u32 = 0; s < here; s++) {
          v128.store(at, int8s(four, s, scale));
          at += <usize>stride << 2;
        }
      } else {
        const scale = lower4(v128.load64_zero(group + (<usize>x << 1)), FLOAT16);
        const low = lower4(v128.load64_zero(group + least + (<usize>x << 1)), FLOAT16);
        for (let s: u32 = 0; s < here; s++) {
          v128.store(at, int4s(four, s, scale, low));
          at += <usize>stride << 2;
        }
      }
    }
  }
}

/** The numbers that stand at place s in each of four words. */
@inline
function int8s(words: v128, s: u32, scale: v128): v128 {
  return f32x4.mul(f32x4.convert_i32x4_s(i32x4.shr_s(i32x4.shl(words, 24 - (s << 3)), 24)), scale);
}

/** A code times a float16 has no more bits than a float: so it is no matter whether the sum is fused. */
@inline
function int4s(words: v128, s: u32, scale: v128, least: v128): v128 {
  const codes = v128.and(i32x4.shr_u(words, s << 2), i32x4.splat(15));
  return f32x4.add(f32x4.mul(f32x4.convert_i32x4_s(codes), scale), least);
}

/**
 * sums += A B for a few rows of A, where B is `depth` columns, from k on, of `width` rows of an int8 or int4 matrix [rows, columns], from
 * `row` on: each sum is the same chain of products as where B is packed. The depth is a multiple of 8. Strides of A and of the sums
 * are in bytes.
 */
export function fewTimesWords(
  few: u32, width: u32, depth: u32, a: usize, aRow: usize, b: usize, kind: u32, rows: u32, columns: u32, k: u32, row: u32,
  sums: usize, sumsRow: usize,
): void {
  const scales = scalesOf(b, kind, rows, columns);
  const least = leastBehind(rows, columns);
  const each: u32 = 1 << wordShift(kind);
  for (let done: u32 = 0; done < depth; done += each) {
    const words = b + (<usize>(((k + done) >> wordShift(kind)) * rows + row) << 2);
    const group = groupScales(scales, rows, k + done) + (<usize>row << 1);
    const left = a + (<usize>done << 2);
    for (let x: u32 = 0; x < width; x += 4) {
      const four = v128.load(words + (<usize>x << 2));
      const isInt8 = kind == INT8;
      const scale = isInt8
        ? v128.load(scales + (<usize>(row + x) << 2))
        : lower4(v128.load64_zero(group + (<usize>x << 1)), FLOAT16);
      const low = isInt8 ? scale : lower4(v128.load64_zero(group + least + (<usize>x << 1)), FLOAT16);
      for (let s: u32 = 0; s < each; s++) {
        const v = isInt8 ? int8s(four, s, scale) : int4s(four, s, scale, low);
        for (let r: u32 = 0; r < few; r++) {
          const at = sums + <usize>r * sumsRow + (<usize>x << 2);
          const factor = v128.load32_splat(left + <usize>r * aRow + (<usize>s << 2));
          v128.store(at, madd(factor, v, v128.load(at)));
        }
      }
    }
  }
}
