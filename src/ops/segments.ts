/** Rows that belong together by id, such as the tokens of a sequence: their sums and means, and rows by id. */
import { sizeOf } from "../tensor/shape";
import { type Tensor, view } from "../tensor/tensor";
import { divide, maximum } from "./elementwise";
import { fill, ones, zeros } from "./fill";
import { gatherPart, scatter } from "./gather";
import { spreadRows } from "./reduce";

/** x[ids[m]] for each m: [N, C], [M] (u32) -> [M, C], or [N] -> [M]. Zeros where an id is IGNORE or no row's. */
export function takeRows(x: Tensor, ids: Tensor): Tensor {
  const table = asMatrix(x);
  const rows = sizeOf(ids.shape);
  return like(x, rows, gatherPart(zeros([rows, table.shape[1]!]), table, ids, 0));
}

/** The sum of each segment's rows: [N, C], [N] (u32) -> [count, C], or [N] -> [count]. Ids that are IGNORE or not below `count` count for nothing. */
export function segmentSum(x: Tensor, segments: Tensor, count: number): Tensor {
  return like(x, count, scatter(asMatrix(x), segments, { tableRows: count }));
}

/** The mean of each segment's rows, shaped as segmentSum's. That of no rows is 0. */
export function segmentMean(x: Tensor, segments: Tensor, count: number): Tensor {
  const sums = segmentSum(x, segments, count);
  const sizes = maximum(segmentSum(ones([sizeOf(segments.shape)]), segments, count), fill([1], 1));
  return divide(sums, x.shape.length === 1 ? sizes : spreadRows(sizes, columnsOf(x)));
}

function columnsOf({ shape }: Tensor): number {
  return shape.length === 1 ? 1 : shape.at(-1)!;
}

function asMatrix(x: Tensor): Tensor {
  const columns = columnsOf(x);
  return view(x, [sizeOf(x.shape) / columns, columns]);
}

/** A matrix of so many rows, in as many dimensions as x has. */
function like(x: Tensor, rows: number, matrix: Tensor): Tensor {
  return x.shape.length === 1 ? view(matrix, [rows]) : matrix;
}
