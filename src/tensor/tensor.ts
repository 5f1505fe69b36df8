/** A tensor is a node in a graph: a shape and how to make it. It owns no memory. */
import type { Kernel, Traits, Workgroups } from "../device/device";
import { type Shape, ShapeError, sizeOf } from "./shape";
import type { DType } from "./stored";

/** One launch of a kernel, before buffers are known: the output is the node, the inputs are the node's inputs. */
export interface Launch {
  readonly kernel: Kernel;
  readonly params: Readonly<Record<string, number>>;
  readonly workgroups: Workgroups;
  /** The kernel knows which of its inputs are not stored as numbers of 4 bytes. */
  readonly readsStored?: boolean;
  /** Its output is not the node but so many elements of working memory, for the node's next launch. */
  readonly writesWork?: number;
  /** Its inputs, where they are not all of the node's: working memory, or an input by its number. */
  readonly reads?: readonly ("work" | number)[];
}

export type Values = Float64Array;

export interface Node {
  readonly name: string;
  readonly shape: Shape;
  /** u32 for token ids, positions and seeds; bf16, f16, nf4 and int8 for weights that are only read. */
  readonly dtype?: DType;
  readonly inputs: readonly Tensor[];
  /** What the op means, in float64. The oracle that every kernel is tested against. */
  readonly reference?: (...inputs: Values[]) => Values;
  /** How the device computes it, by launches in order. A node with inputs but no dispatch is a view of its first input. */
  readonly dispatch?: (traits: Traits) => Launch | readonly Launch[];
  /** Gradients of the inputs, given the gradient of this tensor. `null`: none flows there. */
  readonly vjp?: (grad: Tensor, self: Tensor) => readonly (Tensor | null)[];
  /** The output lives in the first input's buffer, which the kernel sees as its output and not as an input. */
  readonly inPlace?: boolean;
  /** Where a view begins in its first input, in elements: a multiple of VIEW_ALIGNMENT. */
  readonly offset?: number;
  /** The same value added onto `target` in place, where the kernel can do that without another pass. */
  readonly into?: (target: Tensor) => Tensor;
  /** The same value plus `x`, where the kernel can do that without another pass: for one of which nothing else is made. */
  readonly plus?: (x: Tensor) => Tensor;
  /** The same value times the derivative of GELU at `x`, likewise. */
  readonly timesGelu?: (x: Tensor) => Tensor;
  /** Every element has this value, known when the graph is built. */
  readonly constant?: number;
}

export interface Tensor extends Node {
  /** Creation order. It is also execution order: a backward pass is simply created later. */
  readonly id: number;
}

/** Offsets of views are multiples of this many elements, so that any device can bind them (256 bytes; in 16 bits, twice as many). */
export const VIEW_ALIGNMENT = 64;

let created = 0;

export function tensor(node: Node): Tensor {
  return { id: created++, ...node };
}

/** Whether a tensor was made after so many were: what `tensorCount` was then. */
export function madeSince(count: number, { id }: Tensor): boolean {
  return id >= count;
}

/** How many tensors there are so far. */
export function tensorCount(): number {
  return created;
}

/** A value supplied at run time: data, a weight, or the gradient that seeds a backward pass. */
export function input(name: string, shape: Shape, dtype: DType = "f32"): Tensor {
  return tensor({ name, shape, dtype, inputs: [] });
}

/** Part of `x`, from element `offset` on, under another shape. No copy. Its gradient rule is `gradients()`' own. */
export function view(x: Tensor, shape: Shape, { offset = 0, into }: Pick<Node, "offset" | "into"> = {}): Tensor {
  const size = sizeOf(shape);
  if (offset % VIEW_ALIGNMENT !== 0)
    throw new ShapeError(`view: offset ${offset} is not a multiple of ${VIEW_ALIGNMENT}`);
  if (offset + size > sizeOf(x.shape))
    throw new ShapeError(`view: [${shape}] at ${offset} passes the end of [${x.shape}]`);
  return tensor({
    name: "view",
    shape,
    dtype: x.dtype ?? "f32",
    inputs: [x],
    offset,
    reference: (x) => x.subarray(offset, offset + size),
    ...(into && { into }),
  });
}

/** x itself, through which no gradient flows. */
export function detach(x: Tensor): Tensor {
  return tensor({
    name: "detach",
    shape: x.shape,
    dtype: x.dtype ?? "f32",
    inputs: [x],
    reference: (x) => x,
    vjp: () => [null],
  });
}

/** Everything the outputs need, in execution order. */
export function schedule(outputs: readonly Tensor[]): Tensor[] {
  const needed = new Set(outputs);
  for (const { inputs } of needed) for (const x of inputs) needed.add(x); // a Set grows while it is walked
  return [...needed].sort((a, b) => a.id - b.id);
}
