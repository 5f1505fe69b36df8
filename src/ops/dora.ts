/** What weight-decomposed adapters need beside the products: https://arxiv.org/abs/2402.09353, section 4. */
import source from "../../kernels/dora.wgsl" with { type: "text" };
import { linear } from "../device/device";
import { expectShape, matrixOf } from "../tensor/shape";
import { isQuantised, storedConstant } from "../tensor/stored";
import { type Tensor, tensor } from "../tensor/tensor";
import { columnSum } from "./reduce";

/**
 * The length of each column of W + s (B A)^T: W [in, out] (quantised [out, in]), A [r, in], B [out, r] -> [out]. It has no gradient: the
 * paper's section 4.3 treats it as a constant.
 */
export function doraNorm(w: Tensor, a: Tensor, b: Tensor, factor: number): Tensor {
  const { rows: rank, columns: inputs } = matrixOf("doraNorm", "a", a.shape);
  const { rows: outputs } = matrixOf("doraNorm", "b", b.shape);
  const turned = isQuantised(w.dtype);
  expectShape("doraNorm", "b", b.shape, [outputs, rank]);
  expectShape("doraNorm", "w", w.shape, turned ? [outputs, inputs] : [inputs, outputs]);
  return tensor({
    name: "doraNorm",
    shape: [outputs],
    inputs: [w, a, b],
    reference: (w, a, b) =>
      new Float64Array(outputs).map((_, j) => {
        let squares = 0;
        for (let i = 0; i < inputs; i++) {
          let v = 0;
          for (let r = 0; r < rank; r++) v += a[r * inputs + i]! * b[j * rank + r]!;
          squares += (w[turned ? j * inputs + i : i * outputs + j]! + factor * v) ** 2;
        }
        return Math.sqrt(squares);
      }),
    dispatch: () => ({
      kernel: { name: "dora", source, entry: "norm", constants: { STORED: storedConstant(w.dtype) } },
      readsStored: true,
      params: { rows: inputs, columns: outputs, rank, factor },
      workgroups: linear(outputs, 64),
    }),
  });
}

/** y m / norm + bias for each row: [N, out] and three of [out] -> [N, out]. The norm has no gradient. */
export function scaleColumns(y: Tensor, magnitude: Tensor, norm: Tensor, bias: Tensor): Tensor {
  const { rows, columns } = matrixOf("scaleColumns", "y", y.shape);
  for (const [name, { shape }] of Object.entries({ magnitude, norm, bias }))
    expectShape("scaleColumns", name, shape, [columns]);
  const launch = (entry: string, count: number) => () => ({
    kernel: { name: "dora", source, entry },
    params: { rows, columns, rank: 0, factor: 0 },
    workgroups: linear(count, 64),
  });
  return tensor({
    name: "scaleColumns",
    shape: y.shape,
    inputs: [y, magnitude, norm, bias],
    reference: (y, m, norm, bias) => y.map((v, i) => (v * m[i % columns]!) / norm[i % columns]! + bias[i % columns]!),
    dispatch: launch("forward", rows * columns),
    vjp: (grad) => [
      tensor({
        name: "scaleColumnsBackward",
        shape: y.shape,
        inputs: [grad, magnitude, norm],
        reference: (grad, m, norm) => grad.map((v, i) => (v * m[i % columns]!) / norm[i % columns]!),
        dispatch: launch("backward", rows * columns),
      }),
      tensor({
        name: "scaleColumnsMagnitude",
        shape: magnitude.shape,
        inputs: [y, grad, norm],
        reference: (y, grad, norm) => {
          const d = new Float64Array(columns);
          y.forEach((v, i) => {
            d[i % columns]! += (v * grad[i]!) / norm[i % columns]!;
          });
          return d;
        },
        dispatch: launch("backward_magnitude", columns),
      }),
      null,
      columnSum(grad),
    ],
  });
}
