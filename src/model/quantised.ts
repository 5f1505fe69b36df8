/**
 * Matrices quantised in the words that kernels read (tensor/stored.ts). int8: each row scaled by its largest magnitude, the weights of
 * https://arxiv.org/abs/2208.07339. int4: 64 inputs of a row share a scale and a least value, both float16, as in mlx and torchao.
 * nf4: nf4.ts.
 */
import { type Shape, sizeOf } from "../tensor/shape";
import { GROUP, int4Layout, int8Layout, wordsOf } from "../tensor/stored";
import { largestOf } from "./largest";
import { packNf4, unpackNf4 } from "./nf4";
import { transposed } from "./transpose";

export type Quantisation = "nf4" | "int8" | "int4";
export const quantisations: Quantisation[] = ["nf4", "int8", "int4"];

/** Bits of storage for each weight of a matrix of this shape. */
export function bitsPerWeight(shape: Shape, kind: Quantisation): number {
  return (32 * wordsOf(shape, kind)) / sizeOf(shape);
}

/** A linear layer's matrix [in, out] in the words that kernels read, which are those of [out, in]. */
export function quantise(values: Float32Array, shape: Shape, kind: Quantisation): Uint32Array {
  return pack(transposed(values, shape), shape.toReversed(), kind);
}

/** The matrix [in, out] that the words stand for. */
export function dequantise(words: Uint32Array, shape: Shape, kind: Quantisation): Float32Array<ArrayBuffer> {
  const turned = shape.toReversed();
  return transposed(unpack(words, turned, kind), turned);
}

/** A matrix [out, in] in the words that kernels read. */
export function pack(values: Float32Array, shape: Shape, kind: Quantisation): Uint32Array {
  if (kind === "nf4") return packNf4(values);
  return kind === "int8" ? packInt8(quantiseInt8(values, shape), shape) : packInt4(quantiseInt4(values, shape), shape);
}

/** The values that the words stand for. */
export function unpack(words: Uint32Array, shape: Shape, kind: Quantisation): Float32Array<ArrayBuffer> {
  if (kind === "nf4") return unpackNf4(words, sizeOf(shape));
  return kind === "int8" ? unpackInt8(words, shape) : unpackInt4(words, shape);
}

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
    const factor = largest[row] === 0 ? 0 : Math.fround(127 / largest[row]!);
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

function unpackInt8(words: Uint32Array, shape: Shape): Float32Array<ArrayBuffer> {
  const { codes, scales } = unpackedInt8(words, shape);
  return Float32Array.from(codes, (code, i) => code * scales[Math.floor(i / shape[1]!)]!);
}

/** An int4 matrix [rows, columns]: a code for each element, row after row, and for each run of 64 of a row a scale and a least value. */
export interface Int4 {
  readonly codes: Uint8Array;
  /** [rows, groups]. */
  readonly scales: Float16Array;
  readonly least: Float16Array;
}

const LEVELS = 15;

/** Of each group the least value and fifteen equal steps to the largest, both rounded to float16 before the codes are chosen. */
export function quantiseInt4(values: Float32Array, [rows = 0, columns = 0]: Shape): Int4 {
  const { groups } = int4Layout(rows, columns);
  const [scales, least] = [new Float16Array(rows * groups), new Float16Array(rows * groups)];
  const codes = new Uint8Array(rows * columns);
  for (let row = 0; row < rows; row++) {
    for (let group = 0; group < groups; group++) {
      const first = row * columns + group * GROUP;
      const run = values.subarray(first, Math.min(first + GROUP, (row + 1) * columns));
      let [low, high] = [Infinity, -Infinity];
      for (const v of run) {
        if (v < low) low = v;
        if (v > high) high = v;
      }
      const at = row * groups + group;
      least[at] = inHalf(low);
      scales[at] = inHalf((high - least[at]!) / LEVELS);
      codes.set(codesOf(run, scales[at]!, least[at]!), first);
    }
  }
  return { codes, scales, least };
}

/** The nearest code of each value, where the values are `least` + code x `scale`. */
export function codesOf(values: Float32Array, scale: number, least: number): Uint8Array {
  return Uint8Array.from(values, (v) =>
    scale === 0 ? 0 : Math.min(LEVELS, Math.max(0, nearest(Math.fround((v - least) / scale)))),
  );
}

/** The largest float16 stands for what is larger. */
const inHalf = (v: number) => Math.min(65504, Math.max(-65504, v));

export function packInt4({ codes, scales, least }: Int4, [rows = 0, columns = 0]: Shape): Uint32Array {
  const layout = int4Layout(rows, columns);
  const words = new Uint32Array(layout.words);
  const halves = new Float16Array(words.buffer);
  for (let row = 0; row < rows; row++) {
    for (let k = 0; k < columns; k++) words[(k >> 3) * rows + row]! |= codes[row * columns + k]! << (4 * (k & 7));
    for (let group = 0; group < layout.groups; group++) {
      halves[2 * layout.scales + group * rows + row] = scales[row * layout.groups + group]!;
      halves[2 * layout.least + group * rows + row] = least[row * layout.groups + group]!;
    }
  }
  return words;
}

export function unpackedInt4(words: Uint32Array, [rows = 0, columns = 0]: Shape): Int4 {
  const layout = int4Layout(rows, columns);
  const halves = new Float16Array(words.buffer, words.byteOffset, 2 * words.length);
  const codes = new Uint8Array(rows * columns);
  const [scales, least] = [new Float16Array(rows * layout.groups), new Float16Array(rows * layout.groups)];
  for (let row = 0; row < rows; row++) {
    for (let k = 0; k < columns; k++) codes[row * columns + k] = (words[(k >> 3) * rows + row]! >>> (4 * (k & 7))) & 15;
    for (let group = 0; group < layout.groups; group++) {
      scales[row * layout.groups + group] = halves[2 * layout.scales + group * rows + row]!;
      least[row * layout.groups + group] = halves[2 * layout.least + group * rows + row]!;
    }
  }
  return { codes, scales, least };
}

function unpackInt4(words: Uint32Array, shape: Shape): Float32Array<ArrayBuffer> {
  const { codes, scales, least } = unpackedInt4(words, shape);
  const [, columns = 0] = shape;
  const groups = Math.ceil(columns / GROUP);
  return Float32Array.from(codes, (code, i) => {
    const at = Math.floor(i / columns) * groups + Math.floor((i % columns) / GROUP);
    return code * scales[at]! + least[at]!;
  });
}

/** To the nearest integer, of two as near to the even one. */
function nearest(v: number): number {
  const below = Math.floor(v);
  const rest = v - below;
  if (rest !== 0.5) return rest < 0.5 ? below : below + 1;
  return below % 2 === 0 ? below : below + 1;
}
