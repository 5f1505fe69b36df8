/** The named weights of a model: shapes, initial values, and where each lies in one slab. */
import { randomAt } from "../ops/random";
import { type Shape, sizeOf } from "../tensor/shape";
import { type DType, isQuantised, wordsOf } from "../tensor/stored";
import { input, type Tensor, VIEW_ALIGNMENT } from "../tensor/tensor";

export interface ParameterSpec {
  readonly name: string;
  readonly shape: Shape;
  /** Standard deviation of a normal distribution, bound of a uniform one, or a constant. */
  readonly init: { readonly std: number } | { readonly uniform: number } | { readonly value: number };
  /** Weight decay applies: matrices only, as GPT-2 and nanoGPT do it. */
  readonly decay: boolean;
  /** What it is to quantisation: the matrix of a linear layer inside the blocks, or a table of one row a token. */
  readonly role?: "linear" | "table" | undefined;
}

export interface Parameter extends ParameterSpec {
  /** Where it begins in a slab of float32, in elements: that of gradients, of moments, and of weights that are trained. */
  readonly offset: number;
  readonly size: number;
  /** Where it lies in the slab of weights, as they are stored. */
  readonly offsetBytes: number;
  readonly sizeBytes: number;
  /** The input of the graph that stands for it. Quantised it is [out, in], as tables always are. */
  readonly tensor: Tensor;
}

export interface Parameters {
  readonly list: readonly Parameter[];
  /** Elements of a slab, alignment included. */
  readonly size: number;
  /** Bytes of the slab of weights, as they are stored. */
  readonly bytes: number;
  /** Weight decay applies to this many elements at the slab's beginning: the matrices. */
  readonly decayed: number;
  readonly storage: Storage;
  readonly tables: TableStorage;
  /** Elements that are weights. */
  readonly count: number;
}

/**
 * How weights are stored: all in float32, or matrices in 16 bits, or the linear layers' quantised. Only those in float32 can be
 * trained.
 */
export type Storage = "f32" | "bf16" | "f16" | "nf4" | "int8" | "int4";
export const storages = ["f32", "bf16", "f16", "nf4", "int8", "int4"] as const satisfies readonly Storage[];

/**
 * How the tables are stored beside quantised layers: as they are, or in 8 bits. Never in 4: the head loses too much by it
 * (torchao's README on GPT-2: perplexity 30.19 becomes 519.73).
 */
export type TableStorage = "f32" | "int8";

/** Lays parameters out in a slab: those with decay first, each aligned so that any device can bind it. */
export function layOut(
  specs: readonly ParameterSpec[],
  storage: Storage = "f32",
  tables: TableStorage = "f32",
): Parameters {
  let size = 0;
  let bytes = 0;
  const place = (spec: ParameterSpec): Parameter => {
    const dtype = storedAs(spec, storage, tables);
    const shape = isQuantised(dtype) && spec.role === "linear" ? spec.shape.toReversed() : spec.shape;
    const parameter = {
      ...spec,
      offset: size,
      size: sizeOf(spec.shape),
      offsetBytes: bytes,
      sizeBytes: 4 * wordsOf(shape, dtype),
      tensor: input(spec.name, shape, dtype),
    };
    size += aligned(parameter.size, VIEW_ALIGNMENT);
    bytes += aligned(parameter.sizeBytes, 4 * VIEW_ALIGNMENT);
    return parameter;
  };
  const decaying = specs.filter(({ decay }) => decay).map(place);
  const decayed = size;
  const list = [...decaying, ...specs.filter(({ decay }) => !decay).map(place)];
  return { list, size, bytes, decayed, storage, tables, count: list.reduce((sum, { size }) => sum + size, 0) };
}

function storedAs({ decay, role }: ParameterSpec, storage: Storage, tables: TableStorage): DType {
  if (!isQuantised(storage)) return decay ? storage : "f32";
  return role === "linear" ? storage : role === "table" ? tables : "f32";
}

function aligned(size: number, to: number): number {
  return Math.ceil(size / to) * to;
}

/** The parameter with this name. */
export function parameter(parameters: Parameters, name: string): Parameter {
  const found = parameters.list.find((p) => p.name === name);
  if (!found) throw new Error(`no parameter is named ${name}`);
  return found;
}

/** Fresh weights for the whole slab, a function of the seed alone. */
export function initialise(parameters: Parameters, seed: number): Float32Array {
  const slab = new Float32Array(parameters.size);
  parameters.list.forEach(({ offset, size, init }, stream) => {
    if ("value" in init) slab.fill(init.value, offset, offset + size);
    else if ("uniform" in init)
      for (let i = 0; i < size; i++) slab[offset + i] = init.uniform * (2 * randomAt(seed, 2 * stream, i) - 1);
    else for (let i = 0; i < size; i++) slab[offset + i] = init.std * normalAt(seed, stream, i);
  });
  return slab;
}

/** A standard normal number by Box and Muller (https://doi.org/10.1214/aoms/1177706645) from two counters. */
function normalAt(seed: number, stream: number, index: number): number {
  const radius = Math.sqrt(-2 * Math.log(1 - randomAt(seed, 2 * stream, index)));
  return radius * Math.cos(2 * Math.PI * randomAt(seed, 2 * stream + 1, index));
}
