/** Sums and means over rows, over columns, and over everything. */
import columnsSource from "../../kernels/columns.wgsl" with { type: "text" };
import source from "../../kernels/reduce.wgsl" with { type: "text" };
import { linear, type Traits } from "../device/device";
import { matrixOf, type Shape, sizeOf } from "../tensor/shape";
import { type Launch, type Tensor, tensor, view } from "../tensor/tensor";

/** Rows that one invocation of a column sum walks over, where there are two steps. */
const CHUNK = 64;

/** How rows are shared out: on a GPU many lanes a row, on a software adapter, where barriers are dear, a lane a row. */
export function rowLanes({ software }: Traits): { LANES: number; ROWS: number } {
  return software ? { LANES: 1, ROWS: 8 } : { LANES: 64, ROWS: 4 };
}

/** Workgroups for kernels in which a workgroup takes `ROWS` rows. */
export function rowGroups(rows: number, { ROWS }: { ROWS: number }): Launch["workgroups"] {
  return linear(rows, ROWS);
}

/** Sum over the rows of a matrix: [R, C] -> [C]. */
export function columnSum(x: Tensor): Tensor {
  const { rows, columns } = matrixOf("columnSum", "x", x.shape);
  const make = (target?: Tensor): Tensor =>
    tensor({
      name: "columnSum",
      shape: [columns],
      inputs: target ? [target, x] : [x],
      inPlace: target !== undefined,
      reference: (...values) => {
        const y = target ? values[0]!.slice() : new Float64Array(columns);
        values.at(-1)!.forEach((v, i) => {
          y[i % columns]! += v;
        });
        return y;
      },
      dispatch: (traits) => {
        const accumulate = target !== undefined;
        if (!traits.software && columns % 4 === 0) return [columnLaunch("sum", { rows, columns, accumulate })];
        return rows > 2 * CHUNK
          ? [chunkLaunch(rows, columns), workSum(chunksOf(rows), columns, accumulate)]
          : [{ ...workSum(rows, columns, accumulate), reads: [0] }];
      },
      ...(!target && { vjp: (grad: Tensor) => [spread(grad, "spread_columns", x.shape, { chunk: rows })], into: make }),
    });
  return make();
}

function chunksOf(rows: number): number {
  return Math.ceil(rows / CHUNK);
}

/** Sums of each CHUNK rows, into working memory. */
function chunkLaunch(rows: number, columns: number): Launch {
  const chunks = chunksOf(rows);
  return {
    kernel: { name: "reduce", source, entry: "columns", constants: { ACCUMULATE: false } },
    params: { rows, columns, chunk: CHUNK, factor: 1 },
    workgroups: [Math.ceil(columns / 64), chunks, 1],
    writesWork: chunks * columns,
  };
}

/** The column sums of what lies in working memory, [rows, columns]. */
export function workSum(rows: number, columns: number, accumulate: boolean): Launch {
  return {
    kernel: { name: "reduce", source, entry: "columns", constants: { ACCUMULATE: accumulate } },
    params: { rows, columns, chunk: rows, factor: 1 },
    workgroups: [Math.ceil(columns / 64), 1, 1],
    reads: ["work"],
  };
}

/** On a GPU, of a width of whole quads: column sums in one dispatch. */
export function columnLaunch(
  entry: "sum" | "scale",
  { rows, columns, accumulate }: { readonly rows: number; readonly columns: number; readonly accumulate: boolean },
): Launch {
  return {
    kernel: { name: "columns", source: columnsSource, entry, constants: { ACCUMULATE: accumulate } },
    params: { rows, columns },
    workgroups: [Math.ceil(columns / 32), 1, 1],
  };
}

/** Sum over each row, times `factor`: [R, C] -> [R]. */
export function rowSum(x: Tensor, factor = 1): Tensor {
  const { rows, columns } = matrixOf("rowSum", "x", x.shape);
  return tensor({
    name: "rowSum",
    shape: [rows],
    inputs: [x],
    reference: (x) =>
      new Float64Array(rows).map(
        (_, r) => factor * x.subarray(r * columns, (r + 1) * columns).reduce((a, b) => a + b, 0),
      ),
    dispatch: (traits) => ({
      kernel: { name: "reduce", source, entry: "rows", constants: rowLanes(traits) },
      params: { rows, columns, chunk: 0, factor },
      workgroups: rowGroups(rows, rowLanes(traits)),
    }),
    vjp: (grad) => [spread(grad, "spread_rows", x.shape, { factor })],
  });
}

/** Each element over a row, times `factor`: [R] -> [R, C]. */
export function spreadRows(x: Tensor, columns: number, factor = 1): Tensor {
  return spread(x, "spread_rows", [sizeOf(x.shape), columns], { factor });
}

/** Sum of every element, times `factor`, as a tensor of one. Large tensors are summed in two steps. */
export function sum(x: Tensor, factor = 1): Tensor {
  const size = sizeOf(x.shape);
  const width = 256;
  const flat = view(x, [1, size]);
  if (size <= 2 * width || size % width !== 0) return rowSum(flat, factor);
  const rows = view(x, [size / width, width]);
  const partial = rowSum(rows);
  return sum(partial, factor);
}

/** Mean of every element. */
export function mean(x: Tensor): Tensor {
  return sum(x, 1 / sizeOf(x.shape));
}

/** The gradients of the sums: each sum's gradient goes to everything that was summed. */
function spread(x: Tensor, entry: "spread_rows" | "spread_columns", shape: Shape, { chunk = 1, factor = 1 }): Tensor {
  const { rows, columns } = matrixOf(entry, "x", shape);
  const from = (i: number) =>
    entry === "spread_rows" ? Math.floor(i / columns) : Math.floor(i / columns / chunk) * columns + (i % columns);
  return tensor({
    name: entry,
    shape,
    inputs: [x],
    reference: (x) => new Float64Array(rows * columns).map((_, i) => factor * x[from(i)]!),
    dispatch: () => ({
      kernel: { name: "reduce", source, entry },
      params: { rows, columns, chunk, factor },
      workgroups: linear(rows * columns, 64),
    }),
    ...(entry === "spread_rows" && { vjp: (grad: Tensor) => [rowSum(grad, factor)] }),
  });
}
