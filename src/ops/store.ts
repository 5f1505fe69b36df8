/** Activations kept in 16 bits from the forward to the backward pass: https://arxiv.org/abs/1710.03740, with bfloat16. */
import source from "../../kernels/store.wgsl" with { type: "text" };
import { linear } from "../device/device";
import { sizeOf } from "../tensor/shape";
import { type Tensor, tensor } from "../tensor/tensor";

/** x rounded to bf16. */
export function narrow(x: Tensor): Tensor {
  const count = sizeOf(x.shape);
  return tensor({
    name: "narrow",
    shape: x.shape,
    dtype: "bf16",
    inputs: [x],
    reference: (x) => x.map(roundedToHalf),
    dispatch: () => ({
      kernel: { name: "store", source, entry: "narrow" },
      params: { count },
      workgroups: linear(Math.ceil(count / 2), 256),
    }),
  });
}

/** bf16 as float32. */
export function widen(x: Tensor): Tensor {
  const count = sizeOf(x.shape);
  return tensor({
    name: "widen",
    shape: x.shape,
    inputs: [x],
    reference: (x) => x,
    dispatch: () => ({
      kernel: { name: "store", source, entry: "widen" },
      readsStored: true,
      params: { count },
      workgroups: linear(count, 256),
    }),
  });
}

/** What an op's gradient rule needs of the forward pass: called in the rule, it gives the tensor as it was kept. */
export type Keep = (x: Tensor) => () => Tensor;

/** Kept as they are. */
export const keepWhole: Keep = (x) => () => x;

/** Kept in 16 bits, once for all that need it, and widened again in the backward pass. */
export function keepHalf(): Keep {
  const kept = new Map<Tensor, Tensor>();
  return (x) => {
    let half = kept.get(x);
    if (!half) {
      half = narrow(x);
      kept.set(x, half);
    }
    return () => widen(half);
  };
}

const bits = new DataView(new ArrayBuffer(4));

function roundedToHalf(v: number): number {
  bits.setFloat32(0, v);
  const word = bits.getUint32(0);
  if (Number.isNaN(v)) return v;
  bits.setUint32(0, ((word + 0x7fff + ((word >>> 16) & 1)) & 0xffff0000) >>> 0);
  return bits.getFloat32(0);
}
