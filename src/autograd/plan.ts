/** Which buffer each tensor lives in: a pure function of the graph. */
import { sizeOf } from "../tensor/shape";
import { wordsOf } from "../tensor/stored";
import { schedule, type Tensor } from "../tensor/tensor";

export interface Place {
  /** The tensor that owns the memory: itself, or what it is a view of or works in place on. */
  readonly root: Tensor;
  readonly offset: number;
  readonly size: number;
}

export interface Plan {
  /** Everything that runs, in order. */
  readonly nodes: readonly Tensor[];
  readonly places: ReadonlyMap<Tensor, Place>;
  /** Slot of each root that is not bound from outside. */
  readonly slots: ReadonlyMap<Tensor, number>;
  /** Words of 4 bytes of each slot. */
  readonly slotSizes: readonly number[];
  /** How many of the slots, the first ones, hold inputs: they keep their values from run to run. */
  readonly fedSlots: number;
}

/**
 * Gives every tensor a slot such that no tensor loses its buffer while something still needs it. A slot is reused by
 * the next tensor of exactly its size. `bound` tensors have memory of their own; inputs and outputs keep theirs.
 */
export function plan(outputs: readonly Tensor[], bound: ReadonlySet<Tensor> = new Set()): Plan {
  const nodes = schedule(outputs);
  const places = new Map<Tensor, Place>();
  for (const node of nodes) {
    const first = node.inputs[0];
    const alias = first && (node.inPlace || !node.dispatch) && !bound.has(node) ? places.get(first)! : null;
    const size = sizeOf(node.shape);
    places.set(
      node,
      alias ? { root: alias.root, offset: alias.offset + (node.offset ?? 0), size } : { root: node, offset: 0, size },
    );
  }

  const lastUse = new Map<Tensor, number>();
  nodes.forEach((node, at) => {
    for (const x of [node, ...node.inputs]) lastUse.set(places.get(x)!.root, at);
  });
  for (const output of outputs) lastUse.set(places.get(output)!.root, Number.POSITIVE_INFINITY);
  checkInPlace(nodes, places);

  const slots = new Map<Tensor, number>();
  const slotSizes: number[] = [];
  const free = new Map<number, number[]>();
  const endings = new Map<number, Tensor[]>();
  // Fed before anything runs, and still there for the next run.
  for (const node of nodes) {
    if (isFed(node) && !bound.has(node)) slots.set(node, slotSizes.push(wordsOf(node.shape, node.dtype)) - 1);
  }
  const fedSlots = slotSizes.length;
  nodes.forEach((node, at) => {
    const { root } = places.get(node)!;
    if (root === node && !bound.has(node) && !isFed(node)) {
      const size = wordsOf(node.shape, node.dtype);
      const slot = free.get(size)?.pop() ?? slotSizes.push(size) - 1;
      slots.set(node, slot);
      const end = lastUse.get(node)!;
      endings.set(end, [...(endings.get(end) ?? []), node]);
    }
    for (const ended of endings.get(at) ?? []) {
      const slot = slots.get(ended)!;
      const size = slotSizes[slot]!;
      free.set(size, [...(free.get(size) ?? []), slot]);
    }
  });
  return { nodes, places, slots, slotSizes, fedSlots };
}

/** A value supplied at run time. */
export function isFed(node: Tensor): boolean {
  return node.inputs.length === 0 && !node.dispatch;
}

/** Bytes that a program over this plan allocates, beside what is bound from outside. */
export function planBytes({ slotSizes }: Plan): number {
  return slotBytes(slotSizes);
}

/** Bytes that these slots take. */
export function slotBytes(slotSizes: readonly number[]): number {
  return slotSizes.reduce((sum, size) => sum + 4 * size, 0);
}

/** After a node has written in place, nobody may still read what was there before through an older name. */
function checkInPlace(nodes: readonly Tensor[], places: ReadonlyMap<Tensor, Place>): void {
  const writers = new Map<Tensor, Tensor>();
  for (const node of nodes) {
    if (!node.dispatch) continue; // a view reads nothing
    for (const x of node.inputs) {
      const place = places.get(x)!;
      const writer = writers.get(place.root);
      if (writer && x.id < writer.id && overlap(place, places.get(writer)!)) {
        throw new Error(`${node.name}: reads ${x.name} after ${writer.name} has overwritten it in place`);
      }
    }
    if (node.inPlace) writers.set(places.get(node)!.root, node);
  }
}

function overlap(a: Place, b: Place): boolean {
  return a.offset < b.offset + b.size && b.offset < a.offset + a.size;
}
