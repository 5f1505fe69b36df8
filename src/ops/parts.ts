/** Parts of tensors: one behind the other, and every so many elements of one. */
import source from "../../kernels/parts.wgsl" with { type: "text" };
import { linear } from "../device/device";
import { expectShape, ShapeError, sizeOf } from "../tensor/shape";
import { type Launch, type Tensor, tensor, view } from "../tensor/tensor";
import { zeros } from "./fill";

interface Part {
  /** The first element that is taken, in the tensor taken flat. */
  readonly first?: number;
  readonly count: number;
  readonly step?: number;
}

/** x[first + step i] for each i below count, of x taken flat: a column of a matrix, or some of its rows, at any offset. */
export function slice(x: Tensor, { first = 0, count, step = 1 }: Part): Tensor {
  if (!within(sizeOf(x.shape), { first, count, step }))
    throw new ShapeError(`slice: ${count} elements from ${first} on by steps of ${step} pass the end of [${x.shape}]`);
  return tensor({
    name: "slice",
    shape: [count],
    dtype: x.dtype ?? "f32",
    inputs: [x],
    reference: (x) => new Float64Array(count).map((_, i) => x[first + step * i]!),
    dispatch: launch("slice", { first, count, step }),
    vjp: (grad) => [put(zeros(x.shape), grad, { first, count, step })],
  });
}

/** Tensors that agree in all but their first dimension, one behind the other: [N1, C], [N2, C] -> [N1 + N2, C]. */
export function concat(parts: readonly Tensor[]): Tensor {
  if (!parts[0]) throw new ShapeError("concat: there are no parts");
  const rest = parts[0].shape.slice(1);
  for (const { name, shape, dtype = "f32" } of parts) {
    if (dtype !== "f32") throw new ShapeError(`concat: ${name} is in ${dtype}, expected f32`);
    expectShape("concat", "a part", shape, [shape[0] ?? 1, ...rest]);
  }
  const rows = parts.reduce((sum, { shape }) => sum + shape[0]!, 0);
  let first = 0;
  let y = zeros([rows, ...rest]);
  for (const part of parts) {
    const count = sizeOf(part.shape);
    y = put(y, view(part, [count]), { first, count, step: 1 });
    first += count;
  }
  return y;
}

/** `target` with x added onto a part of it in place. */
function put(target: Tensor, x: Tensor, { first, count, step }: Required<Part>): Tensor {
  expectShape("put", "x", x.shape, [count]);
  return tensor({
    name: "put",
    shape: target.shape,
    inputs: [target, x],
    inPlace: true,
    reference: (target, x) => {
      const y = target.slice();
      x.forEach((v, i) => {
        y[first + step * i]! += v;
      });
      return y;
    },
    dispatch: launch("put", { first, count, step }),
    vjp: (grad) => [grad, slice(grad, { first, count, step })],
  });
}

function launch(entry: "slice" | "put", { first, count, step }: Required<Part>): () => Launch {
  return () => ({
    kernel: { name: "parts", source, entry },
    params: { count, first, step },
    workgroups: linear(count, 256),
  });
}

function within(size: number, { first, count, step }: Required<Part>): boolean {
  return first >= 0 && count >= 1 && step >= 1 && first + step * (count - 1) < size;
}
