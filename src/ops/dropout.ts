/** Dropout with a mask that is a function of (seed, stream, index): https://jmlr.org/papers/v15/srivastava14a.html. */
import source from "../../kernels/dropout.wgsl" with { type: "text" };
import { linear } from "../device/device";
import { expectShape, sizeOf } from "../tensor/shape";
import { type Tensor, tensor } from "../tensor/tensor";
import { randomAt } from "./random";

/** x with elements zeroed at `rate` and the rest scaled up. `seed`: [1] (u32), new each step; `stream` tells dropouts of one graph apart. */
export function dropout(x: Tensor, seed: Tensor, { rate, stream }: { rate: number; stream: number }): Tensor {
  if (rate === 0) return x;
  expectShape("dropout", "seed", seed.shape, [1]);
  const count = sizeOf(x.shape);
  const f32Rate = Math.fround(rate);
  return tensor({
    name: "dropout",
    shape: x.shape,
    inputs: [x, seed],
    reference: (x, seed) => x.map((v, i) => (randomAt(seed[0]!, stream, i) >= f32Rate ? v / (1 - rate) : 0)),
    dispatch: () => ({
      kernel: { name: "dropout", source, entry: "forward" },
      params: { count, stream, rate },
      workgroups: linear(count, 256),
    }),
    vjp: (grad) => [dropout(grad, seed, { rate, stream }), null],
  });
}
