/** Reverse mode: a backward pass is more graph, built from each op's `vjp`. */
import { accumulate, add } from "../ops/add";
import { ones } from "../ops/fill";
import { schedule, type Tensor, tensor } from "../tensor/tensor";

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
  for (const node of schedule([output]).reverse()) {
    const grad = grads.get(node);
    if (!grad || !node.vjp) continue;
    node.vjp(grad, node).forEach((inputGrad, i) => {
      const source = node.inputs[i]!;
      if (!inputGrad) return;
      const before = grads.get(source);
      const slab = into.get(source);
      if (slab) grads.set(source, accumulate(before ?? slab, inputGrad));
      else grads.set(source, before ? add(before, inputGrad) : inputGrad);
    });
  }
  return targets.map((target) => grads.get(target) ?? null);
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
