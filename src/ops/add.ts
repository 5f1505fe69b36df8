/** Sums of whole tensors: residuals, gradient accumulation. */
import source from "../../kernels/add.wgsl" with { type: "text" };
import { linear } from "../device/device";
import { expectShape, sizeOf } from "../tensor/shape";
import { type Launch, type Tensor, tensor } from "../tensor/tensor";
import { addScalar } from "./elementwise";

function launch(entry: string, count: number): () => Launch {
  return () => ({ kernel: { name: "add", source, entry }, params: { count }, workgroups: linear(count, 256) });
}

/** a + b, of one shape, or of which one is a tensor of one element. */
export function add(a: Tensor, b: Tensor): Tensor {
  if (sizeOf(a.shape) !== sizeOf(b.shape)) return addScalar(a, b);
  expectShape("add", "b", b.shape, a.shape);
  return tensor({
    name: "add",
    shape: a.shape,
    inputs: [a, b],
    reference: (a, b) => a.map((v, i) => v + b[i]!),
    dispatch: launch("forward", sizeOf(a.shape)),
    vjp: (grad) => [grad, grad],
    into: (target) => accumulate(accumulate(target, a), b),
  });
}

/** a + b, added by b's own kernel where that can: nothing else may use b. */
export function addTo(a: Tensor, b: Tensor): Tensor {
  return b.plus && sizeOf(a.shape) === sizeOf(b.shape) ? b.plus(a) : add(a, b);
}

/** For ops whose kernel does not add: a launch that adds an input, by its number, onto the node. */
export function addLaunch(count: number, input: number): Launch {
  return { ...launch("accumulate", count)(), reads: [input] };
}

/** `target` with `x` added onto it in place, by x's own kernel where that can add. */
export function accumulate(target: Tensor, x: Tensor): Tensor {
  expectShape("accumulate", "x", x.shape, target.shape);
  if (x.into) return x.into(target);
  return tensor({
    name: "accumulate",
    shape: target.shape,
    inputs: [target, x],
    inPlace: true,
    reference: (target, x) => target.map((v, i) => v + x[i]!),
    dispatch: launch("accumulate", sizeOf(x.shape)),
  });
}
