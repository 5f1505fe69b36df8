/** Matrices quantised in the words that kernels read (tensor/stored.ts): int8.ts, int4.ts, nf4.ts. */
import { type Shape, sizeOf } from "../tensor/shape";
import { wordsOf } from "../tensor/stored";
import { packInt4, quantiseInt4, unpackInt4 } from "./int4";
import { packInt8, quantiseInt8, unpackInt8 } from "./int8";
import { packNf4, unpackNf4 } from "./nf4";
import { transposed } from "./transpose";

export type Quantisation = "nf4" | "int8" | "int4";
export const quantisations: Quantisation[] = ["nf4", "int8", "int4"];

/** Bits of storage for each weight of a matrix of this shape. */
export function bitsPerWeight(shape: Shape, kind: Quantisation): number {
  return (32 * wordsOf(shape, kind)) / sizeOf(shape);
}

/** A linear layer's matrix [in, out] in the words that kernels read, which are those of [out, in]. */
export function quantise(values: Float32Array, shape: Shape, kind: Quantisation, counts?: Float64Array): Uint32Array {
  return pack(transposed(values, shape), shape.toReversed(), kind, counts);
}

/** The matrix [in, out] that the words stand for. */
export function dequantise(words: Uint32Array, shape: Shape, kind: Quantisation): Float32Array<ArrayBuffer> {
  const turned = shape.toReversed();
  return transposed(unpack(words, turned, kind), turned);
}

/** A matrix [out, in] in the words that kernels read. `counts`: what the square of an error counts at each input; int4 alone goes by it. */
export function pack(values: Float32Array, shape: Shape, kind: Quantisation, counts?: Float64Array): Uint32Array {
  if (kind === "nf4") return packNf4(values);
  return kind === "int8"
    ? packInt8(quantiseInt8(values, shape), shape)
    : packInt4(quantiseInt4(values, shape, counts), shape);
}

/** The values that the words stand for. */
export function unpack(words: Uint32Array, shape: Shape, kind: Quantisation): Float32Array<ArrayBuffer> {
  if (kind === "nf4") return unpackNf4(words, sizeOf(shape));
  return kind === "int8" ? unpackInt8(words, shape) : unpackInt4(words, shape);
}
