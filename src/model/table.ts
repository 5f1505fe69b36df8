/** A table of one row a token, in parts that each fit one binding of any device: GPT-2's 154 MB of embeddings are two. */

import { UserError } from "../errors";
import { zeros } from "../ops/fill";
import { gather, gatherPart } from "../ops/gather";
import { addColumns, matmul } from "../ops/matmul";
import { matrixOf, sizeOf } from "../tensor/shape";
import { bytesOf, isHalf, isQuantised, wordsOf } from "../tensor/stored";
import { type Tensor, VIEW_ALIGNMENT, view } from "../tensor/tensor";
import { anyRoom } from "./room";

export interface TablePart {
  readonly tensor: Tensor;
  /** The table's row that it begins with. */
  readonly first: number;
  readonly rows: number;
}

/** The table itself where it fits, else runs of its rows of about one size. */
export function tableParts(table: Tensor, most = anyRoom.tableBytes): TablePart[] {
  const { rows, columns } = matrixOf("tableParts", "table", table.shape);
  // A quantised one has no parts of its own: the scales lie behind it.
  if (isQuantised(table.dtype)) {
    const size = 4 * wordsOf(table.shape, table.dtype);
    if (size > most)
      throw new UserError(`a table of ${rows} x ${columns} in ${table.dtype} is larger than ${most >> 20} MiB`, {
        hint: "keep the model in another form: --storage bf16",
      });
    return [{ tensor: table, first: 0, rows }];
  }
  const count = Math.ceil((bytesOf(table.dtype) * rows * columns) / most);
  if (count <= 1) return [{ tensor: table, first: 0, rows }];
  const alignment = isHalf(table.dtype) ? 2 * VIEW_ALIGNMENT : VIEW_ALIGNMENT;
  const step = Math.floor(Math.ceil(rows / count) / alignment) * alignment;
  const size =
    step * columns * bytesOf(table.dtype) <= most && step * count >= rows
      ? step
      : Math.floor(most / bytesOf(table.dtype) / columns / alignment) * alignment;
  return Array.from({ length: Math.ceil(rows / size) }, (_, i) => {
    const first = i * size;
    const part = Math.min(size, rows - first);
    return { tensor: view(table, [part, columns], { offset: first * columns }), first, rows: part };
  });
}

/** The rows of ids: [V, C], [N] (u32) -> [N, C]. */
export function embed(parts: readonly TablePart[], ids: Tensor): Tensor {
  if (parts.length === 1) return gather(parts[0]!.tensor, ids);
  const columns = parts[0]!.tensor.shape[1]!;
  return parts.reduce((y, { tensor, first }) => gatherPart(y, tensor, ids, first), zeros([sizeOf(ids.shape), columns]));
}

/** x table^T: [N, C], [V, C] -> [N, V]. */
export function project(x: Tensor, parts: readonly TablePart[]): Tensor {
  if (parts.length === 1) return matmul(x, parts[0]!.tensor, { transposeB: true });
  const vocabulary = parts.reduce((sum, { rows }) => sum + rows, 0);
  return addProduct(zeros([matrixOf("project", "x", x.shape).rows, vocabulary]), x, parts);
}

/** `logits` with x table^T added onto them, in place. */
export function addProduct(logits: Tensor, x: Tensor, parts: readonly TablePart[]): Tensor {
  return parts.reduce((y, { tensor, first }) => addColumns(y, first, x, tensor), logits);
}
