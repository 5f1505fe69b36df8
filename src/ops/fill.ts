/** Constants: tensors whose every element is known when the graph is built. */
import source from "../../kernels/fill.wgsl" with { type: "text" };
import { linear } from "../device/device";
import { type Shape, sizeOf } from "../tensor/shape";
import { type Tensor, tensor } from "../tensor/tensor";

export function fill(shape: Shape, value: number): Tensor {
  const count = sizeOf(shape);
  return tensor({
    name: "fill",
    shape,
    inputs: [],
    constant: value,
    reference: () => new Float64Array(count).fill(value),
    dispatch: () => ({
      kernel: { name: "fill", source, entry: "forward" },
      params: { count, value },
      workgroups: linear(count, 256),
    }),
  });
}

export const ones = (shape: Shape): Tensor => fill(shape, 1);
export const zeros = (shape: Shape): Tensor => fill(shape, 0);
