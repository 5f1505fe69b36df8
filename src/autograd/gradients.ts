/** Reverse mode: a backward pass is more graph, built from each op's `vjp`. */
import { accumulate, add } from "../ops/add";
import { ones } from "../ops/fill";
import { schedule, type Tensor, tensor, view } from "../tensor/tensor";

export interface GradientOptions {
  /** The gradient of `output`; ones if absent. */
  readonly seed?: Tensor;
  /** For a target: the tensor that its gradient is added onto in place, such as a slice of the gradient slab. */
  readonly into?: ReadonlyMap<Tensor, Tensor>;
}

/**
 * Adds the backward pass of `output` to the graph and returns the gradient of each target, or null where none flows.
 * With `into`, that gradient is the slice after everything was added onto it. What no target needs is built but never run.
 */
export function gradients(
  output: Tensor,
  targets: readonly Tensor[],
  { seed = ones(output.shape), into = new Map() }: GradientOptions = {},
): (Tensor | null)[] {
  const grads = new Map<Tensor, Tensor>([[output, seed]]);
  const parts = new Map<Tensor, Tensor[]>();
  for (const node of schedule([output]).reverse()) {
    const grad = grads.get(node);
    if (!grad || !node.vjp || (isPart(node) && into.has(node.inputs[0]!))) continue;
    node.vjp(grad, node).forEach((inputGrad, i) => {
      if (!inputGrad) return;
      const slice = sliceOf(node.inputs[i]!, into);
      const source = slice?.part ? partOf(slice.parent, node.inputs[i]!, parts) : node.inputs[i]!;
      const before = grads.get(source);
      if (slice) grads.set(source, accumulate(before ?? slice.slab, inputGrad));
      else grads.set(source, before ? add(before, inputGrad) : inputGrad);
    });
  }
  return targets.map((target) => {
    const grad = grads.get(target) ?? null;
    const used = parts.get(target);
    return used ? assembled(grad ?? into.get(target)!, used, grads) : grad;
  });
}

/** A run of a tensor's rows, as `model/table.ts` makes them. */
function isPart(node: Tensor): boolean {
  return node.offset !== undefined && node.inputs.length === 1 && !node.dispatch;
}

/** Where in the slab the gradient of a tensor belongs: its own slice, or the part of its parent's. */
function sliceOf(source: Tensor, into: ReadonlyMap<Tensor, Tensor>) {
  const own = into.get(source);
  if (own) return { slab: own, parent: source, part: false };
  const parent = source.inputs[0];
  const slab = parent && isPart(source) ? into.get(parent) : undefined;
  return slab && parent && { slab: view(slab, source.shape, { offset: source.offset! }), parent, part: true };
}

/** The first view of this part that was met: two views of the same rows have one gradient. */
function partOf(parent: Tensor, source: Tensor, parts: Map<Tensor, Tensor[]>): Tensor {
  const known = parts.get(parent) ?? [];
  const same = known.find(({ offset, shape }) => offset === source.offset && shape.join() === source.shape.join());
  if (!same) parts.set(parent, [...known, source]);
  return same ?? source;
}

/** The whole slice of the slab, once its parts were added onto. */
function assembled(slab: Tensor, parts: readonly Tensor[], grads: ReadonlyMap<Tensor, Tensor>): Tensor {
  return tensor({
    name: "assembled",
    shape: slab.shape,
    inputs: [slab, ...parts.map((part) => grads.get(part)!)],
    reference: (slab, ...values) => {
      const y = slab.slice();
      values.forEach((value, i) => {
        y.set(value, parts[i]!.offset);
      });
      return y;
    },
  });
}

/**
 * Frees what `f` computes on the way, and computes it again in the backward pass. Weights that `f` uses are listed as
 * inputs too, so that their gradients flow: `recompute(block, x, ...weights)`.
 */
export function recompute(f: (...inputs: Tensor[]) => Tensor, ...inputs: Tensor[]): Tensor {
  const output = f(...inputs);
  return tensor({
    name: "recompute",
    shape: output.shape,
    inputs: [output, ...inputs],
    reference: (output) => output,
    vjp: (grad) => [null, ...gradients(f(...inputs), inputs, { seed: grad })],
  });
}
