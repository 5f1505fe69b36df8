/** Layer norm over the last dimension: https://arxiv.org/abs/1607.06450, equation 4. */
import source from "../../kernels/layer-norm.wgsl" with { type: "text" };
import { expectShape, matrixOf } from "../tensor/shape";
import { type Tensor, tensor, type Values } from "../tensor/tensor";
import { addLaunch } from "./add";
import { columnLaunch, columnSum, rowGroups, rowLanes, workSum } from "./reduce";
import { type Keep, keepWhole } from "./store";

/** Rows that one invocation of the scale's gradient walks over. */
const CHUNK = 64;

/** (x - mean) / sqrt(variance + epsilon) * scale + shift, for each row of x: [R, C]. */
export function layerNorm(x: Tensor, scale: Tensor, shift: Tensor, epsilon = 1e-5, keep: Keep = keepWhole): Tensor {
  const kept = keep(x);
  const { rows, columns } = matrixOf("layerNorm", "x", x.shape);
  expectShape("layerNorm", "scale", scale.shape, [columns]);
  expectShape("layerNorm", "shift", shift.shape, [columns]);
  const statistics = rowStatistics(x, epsilon);
  return tensor({
    name: "layerNorm",
    shape: x.shape,
    inputs: [x, statistics, scale, shift],
    reference: (x, s, scale, shift) =>
      x.map((v, i) => {
        const row = Math.floor(i / columns);
        return (v - s[2 * row]!) * s[2 * row + 1]! * scale[i % columns]! + shift[i % columns]!;
      }),
    dispatch: (traits) => ({
      kernel: { name: "layer-norm", source, entry: "forward", constants: rowLanes(traits) },
      params: { rows, columns, chunk: 0, epsilon },
      workgroups: rowGroups(rows, rowLanes(traits)),
    }),
    vjp: (grad) => {
      const x = kept();
      return [
        layerNormBackward(x, statistics, scale, grad),
        null, // the gradient through the statistics is part of the rule for x
        scaleGradient(x, statistics, grad),
        columnSum(grad),
      ];
    },
  });
}

/** Mean and reciprocal standard deviation of each row: [R, 2]. */
function rowStatistics(x: Tensor, epsilon: number): Tensor {
  const { rows, columns } = matrixOf("layerNorm", "x", x.shape);
  return tensor({
    name: "rowStatistics",
    shape: [rows, 2],
    inputs: [x],
    reference: (x) => {
      const y = new Float64Array(2 * rows);
      for (let row = 0; row < rows; row++) {
        const values = x.subarray(row * columns, (row + 1) * columns);
        const mean = values.reduce((a, b) => a + b, 0) / columns;
        const variance = values.reduce((a, b) => a + (b - mean) ** 2, 0) / columns;
        y.set([mean, 1 / Math.sqrt(variance + epsilon)], 2 * row);
      }
      return y;
    },
    dispatch: (traits) => ({
      kernel: { name: "layer-norm", source, entry: "statistics", constants: rowLanes(traits) },
      params: { rows, columns, chunk: 0, epsilon },
      workgroups: rowGroups(rows, rowLanes(traits)),
    }),
  });
}

function layerNormBackward(x: Tensor, statistics: Tensor, scale: Tensor, grad: Tensor): Tensor {
  const { rows, columns } = matrixOf("layerNorm", "x", x.shape);
  const make = (added?: Tensor): Tensor =>
    tensor({
      name: "layerNormBackward",
      shape: x.shape,
      inputs: [x, statistics, scale, grad, ...(added ? [added] : [])],
      reference: (x, s, scale, grad, added) => {
        const y = new Float64Array(x.length);
        for (let row = 0; row < rows; row++) {
          const at = (c: number) => row * columns + c;
          const g = Array.from({ length: columns }, (_, c) => grad[at(c)]! * scale[c]!);
          const xhat = Array.from({ length: columns }, (_, c) => (x[at(c)]! - s[2 * row]!) * s[2 * row + 1]!);
          const meanG = g.reduce((a, b) => a + b, 0) / columns;
          const meanGx = g.reduce((a, b, c) => a + b * xhat[c]!, 0) / columns;
          for (let c = 0; c < columns; c++) {
            y[at(c)] = s[2 * row + 1]! * (g[c]! - meanG - xhat[c]! * meanGx) + (added ? added[at(c)]! : 0);
          }
        }
        return y;
      },
      dispatch: (traits) => {
        const launch = {
          kernel: { name: "layer-norm", source, entry: "backward", constants: rowLanes(traits) },
          params: { rows, columns, chunk: 0, epsilon: 0 },
          workgroups: rowGroups(rows, rowLanes(traits)),
          reads: [0, 1, 2, 3],
        };
        if (!added) return [launch];
        if (traits.software) return [launch, addLaunch(rows * columns, 4)];
        return [{ ...launch, kernel: { ...launch.kernel, entry: "backward_plus" }, reads: [0, 1, 2, 3, 4] }];
      },
      ...(!added && { plus: (x) => make(x) }),
    });
  return make();
}

/** The gradient of the scale: the sum over rows of grad xhat, [C]. */
function scaleGradient(x: Tensor, statistics: Tensor, grad: Tensor): Tensor {
  const { rows, columns } = matrixOf("layerNorm", "x", x.shape);
  const chunks = Math.ceil(rows / CHUNK);
  const make = (target?: Tensor): Tensor =>
    tensor({
      name: "scaleGradient",
      shape: [columns],
      inputs: [...(target ? [target] : []), x, statistics, grad],
      inPlace: target !== undefined,
      reference: (...values) => {
        const y = target ? values[0]!.slice() : new Float64Array(columns);
        const [x, s, grad] = values.slice(-3) as [Values, Values, Values];
        x.forEach((v, i) => {
          const row = Math.floor(i / columns);
          y[i % columns]! += grad[i]! * (v - s[2 * row]!) * s[2 * row + 1]!;
        });
        return y;
      },
      dispatch: (traits) => {
        const accumulate = target !== undefined;
        if (!traits.software && columns % 4 === 0)
          return { ...columnLaunch("scale", { rows, columns, accumulate }), reads: [2, 0, 1] };
        return [
          {
            kernel: { name: "layer-norm", source, entry: "backward_scale" },
            params: { rows, columns, chunk: CHUNK, epsilon: 0 },
            workgroups: [Math.ceil(columns / 64), chunks, 1],
            writesWork: chunks * columns,
          },
          workSum(chunks, columns, accumulate),
        ];
      },
      ...(!target && { into: make }),
    });
  return make();
}
