/** GELU in GPT-2's tanh form: https://arxiv.org/abs/1606.08415, section 2. */
import source from "../../kernels/gelu.wgsl" with { type: "text" };
import { linear } from "../device/device";
import { expectShape, sizeOf } from "../tensor/shape";
import { type Tensor, tensor } from "../tensor/tensor";
import { type Keep, keepWhole } from "./store";

const C = Math.sqrt(2 / Math.PI);
const A = 0.044715;

/** gelu(v) in float64. */
export function geluValue(v: number): number {
  return 0.5 * v * (1 + Math.tanh(C * (v + A * v ** 3)));
}

export function gelu(x: Tensor, keep: Keep = keepWhole): Tensor {
  const kept = keep(x);
  const count = sizeOf(x.shape);
  return tensor({
    name: "gelu",
    shape: x.shape,
    inputs: [x],
    reference: (x) => x.map(geluValue),
    dispatch: () => ({
      kernel: { name: "gelu", source, entry: "forward" },
      params: { count },
      workgroups: linear(count, 256),
    }),
    vjp: (grad) => [geluBackward(kept(), grad)],
  });
}

/** d gelu(x) / dx * grad. */
export function geluBackward(x: Tensor, grad: Tensor): Tensor {
  expectShape("geluBackward", "grad", grad.shape, x.shape);
  const count = sizeOf(x.shape);
  return tensor({
    name: "geluBackward",
    shape: x.shape,
    inputs: [x, grad],
    reference: (x, grad) =>
      x.map((v, i) => {
        const t = Math.tanh(C * (v + A * v ** 3));
        return grad[i]! * (0.5 * (1 + t) + 0.5 * v * (1 - t * t) * C * (1 + 3 * A * v * v));
      }),
    dispatch: () => ({
      kernel: { name: "gelu", source, entry: "backward" },
      params: { count },
      workgroups: linear(count, 256),
    }),
  });
}
