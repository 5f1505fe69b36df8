/** GELU in GPT-2's tanh form: https://arxiv.org/abs/1606.08415, section 2. */
import source from "../../kernels/gelu.wgsl" with { type: "text" };
import { linear } from "../device/device";
import { expectShape, sizeOf } from "../tensor/shape";
import { type Launch, type Tensor, tensor } from "../tensor/tensor";
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

/** d gelu(x) / dx * grad, by the kernel that makes grad where that can: nothing else may use it. */
export function geluBackward(x: Tensor, grad: Tensor): Tensor {
  expectShape("geluBackward", "grad", grad.shape, x.shape);
  return grad.timesGelu ? grad.timesGelu(x) : geluGradient(x, grad);
}

/** For ops whose kernel does not multiply by it: a launch that makes the node of an input x, by its number, and working memory. */
export function geluLaunch(count: number, x: number): Launch {
  return { ...backwardLaunch(count), reads: [x, "work"] };
}

/** d gelu(v) / dv in float64. */
export function geluDerivative(v: number): number {
  const t = Math.tanh(C * (v + A * v ** 3));
  return 0.5 * (1 + t) + 0.5 * v * (1 - t * t) * C * (1 + 3 * A * v * v);
}

function backwardLaunch(count: number): Launch {
  return {
    kernel: { name: "gelu", source, entry: "backward" },
    params: { count },
    workgroups: linear(count, 256),
  };
}

function geluGradient(x: Tensor, grad: Tensor): Tensor {
  const count = sizeOf(x.shape);
  return tensor({
    name: "geluBackward",
    shape: x.shape,
    inputs: [x, grad],
    reference: (x, grad) => x.map((v, i) => grad[i]! * geluDerivative(v)),
    dispatch: () => backwardLaunch(count),
  });
}
