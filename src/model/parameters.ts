/** The named weights of a model: shapes, initial values, and where each lies in one slab. */
import { randomAt } from "../ops/random";
import { type Shape, sizeOf } from "../tensor/shape";
import { input, isHalf, type Tensor, VIEW_ALIGNMENT } from "../tensor/tensor";

export interface ParameterSpec {
  readonly name: string;
  readonly shape: Shape;
  /** Standard deviation of a normal distribution, or a constant. */
  readonly init: { readonly std: number } | { readonly value: number };
  /** Weight decay applies: matrices only, as GPT-2 and nanoGPT do it. */
  readonly decay: boolean;
}

export interface Parameter extends ParameterSpec {
  /** Where it begins in the slab, in elements. */
  readonly offset: number;
  readonly size: number;
  /** The input of the graph that stands for it. */
  readonly tensor: Tensor;
}

export interface Parameters {
  readonly list: readonly Parameter[];
  /** Elements of the slab, alignment included. */
  readonly size: number;
  /** Weight decay applies to this many elements at the slab's beginning: the matrices. */
  readonly decayed: number;
  /** This many elements at the slab's beginning are stored in 16 bits: the matrices, or none. */
  readonly half: number;
  readonly storage: Storage;
  /** Elements that are weights. */
  readonly count: number;
}

/** How matrices are stored. In 16 bits they can be read, and not trained. */
export type Storage = "f32" | "bf16" | "f16";

/** Lays parameters out in a slab: those with decay first, each aligned so that any device can bind it. */
export function layOut(specs: readonly ParameterSpec[], storage: Storage = "f32"): Parameters {
  let size = 0;
  const alignment = isHalf(storage) ? 2 * VIEW_ALIGNMENT : VIEW_ALIGNMENT;
  const place = (spec: ParameterSpec): Parameter => {
    const offset = size;
    size += Math.ceil(sizeOf(spec.shape) / alignment) * alignment;
    return {
      ...spec,
      offset,
      size: sizeOf(spec.shape),
      tensor: input(spec.name, spec.shape, spec.decay ? storage : "f32"),
    };
  };
  const decaying = specs.filter(({ decay }) => decay).map(place);
  const decayed = size;
  const list = [...decaying, ...specs.filter(({ decay }) => !decay).map(place)];
  return {
    list,
    size,
    decayed,
    half: isHalf(storage) ? decayed : 0,
    storage,
    count: list.reduce((sum, { size }) => sum + size, 0),
  };
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
    else for (let i = 0; i < size; i++) slab[offset + i] = init.std * normalAt(seed, stream, i);
  });
  return slab;
}

/** A standard normal number by Box and Muller (https://doi.org/10.1214/aoms/1177706645) from two counters. */
function normalAt(seed: number, stream: number, index: number): number {
  const radius = Math.sqrt(-2 * Math.log(1 - randomAt(seed, 2 * stream, index)));
  return radius * Math.cos(2 * Math.PI * randomAt(seed, 2 * stream + 1, index));
}
