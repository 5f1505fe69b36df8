/** How a matrix lies in memory: as numbers of 4 bytes, of 2, or quantised in blocks, which kernels turn into numbers as they read. */
import { type Shape, sizeOf } from "./shape";

/**
 * bf16 is the upper half of a float32: as wide in range, 8 bits of precision. f16 has 11 bits, and ends at 65,504. nf4 is 4 bits of a
 * normal distribution's quantiles with a scale for each 64 elements (https://arxiv.org/abs/2305.14314, section 3); int8 is 8 bits
 * with a scale for each row; int4 is 4 bits with a scale and a least value for each 64 inputs of a row. Quantised matrices are
 * [out, in].
 */
export type DType = "f32" | "u32" | "bf16" | "f16" | "nf4" | "int8" | "int4";

export function isHalf(dtype: DType = "f32"): dtype is "bf16" | "f16" {
  return dtype === "bf16" || dtype === "f16";
}

export function isQuantised(dtype: DType = "f32"): dtype is "nf4" | "int8" | "int4" {
  return dtype === "nf4" || dtype === "int8" || dtype === "int4";
}

/** Bytes of an element. Elements of quantised matrices have no address of their own. */
export function bytesOf(dtype: DType = "f32"): number {
  return isHalf(dtype) ? 2 : 4;
}

/** Elements of an nf4 block, and blocks whose scales share one. */
export const BLOCK = 64;
export const NESTED = 256;

/** Where the parts of an nf4 matrix of `count` elements begin, in words of 4 bytes. kernels/matmul.wgsl computes the same. */
export function nf4Layout(count: number) {
  const blocks = Math.ceil(count / BLOCK);
  const scales = Math.ceil(count / 8);
  const map = scales + Math.ceil(blocks / 4);
  const scaleMap = map + 16;
  const nested = scaleMap + 256;
  const offset = nested + Math.ceil(blocks / NESTED);
  return { blocks, scales, map, scaleMap, nested, offset, words: offset + 1 };
}

/** Inputs of an int4 row that share a scale and a least value. */
export const GROUP = 64;

/**
 * An int8 matrix [rows, columns] in words: each holds four columns of a row, the first in the low byte, and the words of the same four
 * columns of all rows lie together; behind them the rows' scales. So kernels that go along the columns take many rows at a time.
 */
export function int8Layout(rows: number, columns: number) {
  const scales = Math.ceil(columns / 4) * rows;
  return { scales, words: scales + rows };
}

/**
 * An int4 matrix likewise: eight columns a word, the first in the low bits; behind them the scales of all rows for the first 64 columns,
 * for the next, and so on; and as many least values. Both are float16s, and a value is its code times the scale plus the least.
 */
export function int4Layout(rows: number, columns: number) {
  const groups = Math.ceil(columns / GROUP);
  const scales = Math.ceil(columns / 8) * rows;
  const least = scales + Math.ceil((groups * rows) / 2);
  return { groups, scales, least, words: least + Math.ceil((groups * rows) / 2) };
}

/** Words of 4 bytes that a tensor takes. */
export function wordsOf(shape: Shape, dtype: DType = "f32"): number {
  const count = sizeOf(shape);
  if (dtype === "nf4") return nf4Layout(count).words;
  if (dtype === "int8") return int8Layout(shape[0]!, shape[1]!).words;
  if (dtype === "int4") return int4Layout(shape[0]!, shape[1]!).words;
  return Math.ceil((count * bytesOf(dtype)) / 4);
}

const STORED: Readonly<Record<DType, number>> = { f32: 0, u32: 0, bf16: 1, f16: 2, nf4: 3, int8: 4, int4: 5 };

/** The constant STORED, by which kernels are told how a matrix is stored. */
export function storedConstant(dtype: DType = "f32"): number {
  return STORED[dtype];
}
