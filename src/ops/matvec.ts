/** Products of few rows on GPUs: what decoding multiplies, where reading B is all there is to do. */
import source from "../../kernels/matvec.wgsl" with { type: "text" };
import { linear } from "../device/device";
import type { Launch } from "../tensor/tensor";
import { type Epilogue, storedQuads, type TileForm } from "./matmul-tile";

/** Rows of A that are multiplied at a time, at most. */
const FEW = 8;

/** Null where the kernel has no form for it. */
export function fewRowsLaunch(form: TileForm, { other, ...epilogue }: Epilogue): Launch | null {
  const { rows, columns, inner, transposeA, transposeB, stored, a, result } = form;
  if (rows > FEW || transposeA || stored >= storedQuads.length || other === "timesGelu") return null;
  if ((transposeB ? inner : columns) % 4 !== 0) return null;
  const specialize = {
    // A form for each number of rows would be compiled for each.
    ROWS: `${[1, 2, 4, FEW].find((most) => rows <= most)}u`,
    ...(stored > 0 && { B: "u32", b_quad: storedQuads[stored]! }),
  };
  return {
    kernel: {
      name: "matvec",
      source,
      entry: transposeB ? "by_rows" : "by_columns",
      constants: {
        BIAS: epilogue.bias,
        GELU: epilogue.gelu,
        ACCUMULATE: epilogue.accumulate,
        PLUS: other === "plus",
      },
      specialize,
    },
    params: { rows, columns, inner, a_first: a.first, a_stride: a.stride, ...result },
    workgroups: transposeB ? linear(columns, 8) : [Math.ceil(columns / 16), 1, 1],
    readsStored: stored > 0,
    reads: [0, 1, 2, other ? 3 : 2],
  };
}
