/** Matrices in int4: 64 inputs of a row share a scale and a least value, both float16, as in mlx and torchao. */
import type { Shape } from "../tensor/shape";
import { GROUP, int4Layout } from "../tensor/stored";
import { fitInt4, INT4_LEVELS } from "./int4-fit";
import { nearest } from "./nearest";

/** An int4 matrix [rows, columns]: a code for each element, row after row, and for each run of 64 of a row a scale and a least value. */
export interface Int4 {
  readonly codes: Uint8Array;
  /** [rows, groups]. */
  readonly scales: Float16Array;
  readonly least: Float16Array;
}

/**
 * Of each group the least value and fifteen equal steps to the largest, both rounded to float16 before the codes are chosen. `counts`:
 * what the square of an error counts at each column; both are then fitted.
 */
export function quantiseInt4(values: Float32Array, [rows = 0, columns = 0]: Shape, counts?: Float64Array): Int4 {
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
      scales[at] = inHalf((high - least[at]!) / INT4_LEVELS);
      if (counts) {
        const own = counts.subarray(group * GROUP, group * GROUP + run.length);
        const fit = fitInt4(run, own, { scale: scales[at]!, least: least[at]! });
        [scales[at], least[at]] = [fit.scale, fit.least];
      }
      codes.set(codesOf(run, scales[at]!, least[at]!), first);
    }
  }
  return { codes, scales, least };
}

/** The nearest code of each value, where the values are `least` + code x `scale`. */
export function codesOf(values: Float32Array, scale: number, least: number): Uint8Array {
  return Uint8Array.from(values, (v) =>
    scale === 0 ? 0 : Math.min(INT4_LEVELS, Math.max(0, nearest(Math.fround((v - least) / scale)))),
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

export function unpackInt4(words: Uint32Array, shape: Shape): Float32Array<ArrayBuffer> {
  const { codes, scales, least } = unpackedInt4(words, shape);
  const [, columns = 0] = shape;
  const groups = Math.ceil(columns / GROUP);
  return Float32Array.from(codes, (code, i) => {
    const at = Math.floor(i / columns) * groups + Math.floor((i % columns) / GROUP);
    return code * scales[at]! + least[at]!;
  });
}
