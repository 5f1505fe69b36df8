/** Sums and scalings of whole tensors: residuals, gradient accumulation, scaled losses. */
import source from "../../kernels/add.wgsl" with { type: "text" };
import { linear } from "../device/device";
import { expectShape, sizeOf } from "../tensor/shape";
import { type Launch, type Tensor, tensor } from "../tensor/tensor";
import { sum } from "./reduce";

function launch(entry: string, count: number, factor = 1): () => Launch {
  return () => ({ kernel: { name: "add", source, entry }, params: { count, factor }, workgroups: linear(count, 256) });
}

/** a + b, of one shape. */
export function add(a: Tensor, b: Tensor): Tensor {
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

/** x times a number, or times a tensor of one element. */
export function scale(x: Tensor, by: number | Tensor): Tensor {
  const count = sizeOf(x.shape);
  const factor = typeof by === "number" ? by : by.constant;
  if (factor === 1) return x;
  if (factor !== undefined) {
    return tensor({
      name: "scale",
      shape: x.shape,
      inputs: [x],
      reference: (x) => x.map((v) => v * factor),
      dispatch: launch("scale", count, factor),
      vjp: (grad) => [scale(grad, factor)],
    });
  }
  const scalar = by as Tensor;
  expectShape("scale", "by", scalar.shape, [1]);
  return tensor({
    name: "scale",
    shape: x.shape,
    inputs: [x, scalar],
    reference: (x, by) => x.map((v) => v * by[0]!),
    dispatch: launch("scale_by", count),
    vjp: (grad) => [scale(grad, scalar), sum(mul(grad, x))],
  });
}

/** a * b, element by element. */
export function mul(a: Tensor, b: Tensor): Tensor {
  expectShape("mul", "b", b.shape, a.shape);
  return tensor({
    name: "mul",
    shape: a.shape,
    inputs: [a, b],
    reference: (a, b) => a.map((v, i) => v * b[i]!),
    dispatch: launch("multiply", sizeOf(a.shape)),
    vjp: (grad) => [mul(grad, b), mul(grad, a)],
  });
}
