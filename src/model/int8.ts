/** Matrices in int8: each row scaled by its largest magnitude, the weights of https://arxiv.org/abs/2208.07339. */
import type { Shape } from "../tensor/shape";
import { int8Layout } from "../tensor/stored";
import { largestOf } from "./largest";
import { nearest } from "./nearest";

/** An int8 matrix [rows, columns]: its codes, row after row, and the rows' scales. */
export interface Int8 {
  readonly codes: Int8Array;
  readonly scales: Float32Array;
}

/** Each row by its largest magnitude over 127, to the nearest, of two as near to the even one. */
export function quantiseInt8(values: Float32Array, [rows = 0, columns = 0]: Shape): Int8 {
  const codes = new Int8Array(rows * columns);
  const largest = largestOf(values, columns);
  for (let row = 0; row < rows; row++) {
    // As PyTorch divides a number by a tensor. Of what is so small that 1 / it is infinite in float32, nothing is left.
    const inverse = Math.fround(1 / largest[row]!);
    const factor = Number.isFinite(inverse) ? Math.fround(127 * inverse) : 0;
    for (let i = row * columns; i < (row + 1) * columns; i++) codes[i] = nearest(Math.fround(values[i]! * factor));
  }
  return { codes, scales: largest.map((v) => v / 127) };
}

export function packInt8({ codes, scales }: Int8, [rows = 0, columns = 0]: Shape): Uint32Array {
  const layout = int8Layout(rows, columns);
  const words = new Uint32Array(layout.words);
  const bytes = new Int8Array(words.buffer);
  for (let row = 0; row < rows; row++)
    for (let k = 0; k < columns; k++) bytes[4 * ((k >> 2) * rows + row) + (k & 3)] = codes[row * columns + k]!;
  new Float32Array(words.buffer).set(scales, layout.scales);
  return words;
}

export function unpackedInt8(words: Uint32Array, [rows = 0, columns = 0]: Shape): Int8 {
  const bytes = new Int8Array(words.buffer, words.byteOffset, words.byteLength);
  const codes = new Int8Array(rows * columns);
  for (let row = 0; row < rows; row++)
    for (let k = 0; k < columns; k++) codes[row * columns + k] = bytes[4 * ((k >> 2) * rows + row) + (k & 3)]!;
  const { scales } = int8Layout(rows, columns);
  return { codes, scales: new Float32Array(words.buffer, words.byteOffset, words.length).slice(scales, scales + rows) };
}

export function unpackInt8(words: Uint32Array, shape: Shape): Float32Array<ArrayBuffer> {
  const { codes, scales } = unpackedInt8(words, shape);
  return Float32Array.from(codes, (code, i) => code * scales[Math.floor(i / shape[1]!)]!);
}
