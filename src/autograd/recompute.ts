/** Activations computed again instead of kept: https://arxiv.org/abs/1604.06174. */
import { schedule, type Tensor, tensor } from "../tensor/tensor";
import { gradients } from "./gradients";

/**
 * f(x), of which nothing inside is kept: the backward pass computes it again. Whatever `f` reads from outside, such as weights, is found
 * in its graph, and gets its gradient.
 */
export function recompute(f: (x: Tensor) => Tensor, x: Tensor): Tensor {
  const { output, outside } = traced(f, x);
  const inputs = [x, ...outside];
  return tensor({
    name: "recompute",
    shape: output.shape,
    inputs: [output, ...inputs],
    reference: (output) => output,
    vjp: (grad) => [null, ...gradients(f(x), inputs, { seed: grad, fromTargets: true })],
  });
}

/** f(x), and what its nodes read that is older than they are. */
function traced(f: (x: Tensor) => Tensor, x: Tensor): { output: Tensor; outside: Tensor[] } {
  const before = tensor({ name: "before", shape: [], inputs: [] });
  const output = f(x);
  const inside = ({ id }: Tensor) => id > before.id;
  const outside = new Set<Tensor>();
  for (const node of schedule([output])) if (inside(node)) for (const y of node.inputs) if (!inside(y)) outside.add(y);
  outside.delete(x);
  return { output, outside: [...outside] };
}
