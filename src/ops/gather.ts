/** Rows of a table by id: embeddings, and the last positions of prompts. */
import source from "../../kernels/gather.wgsl" with { type: "text" };
import { linear } from "../device/device";
import { expectShape, matrixOf, sizeOf } from "../tensor/shape";
import { storedConstant } from "../tensor/stored";
import { type Tensor, tensor } from "../tensor/tensor";
import { zeros } from "./fill";

/** table[ids[n]] for each n: [V, C], [N] (u32) -> [N, C]. Ids are not checked on the device: check them on the way in. */
export function gather(table: Tensor, ids: Tensor): Tensor {
  const { rows: tableRows, columns } = matrixOf("gather", "table", table.shape);
  if (table.dtype === "nf4" || table.dtype === "int4") throw new Error(`gather reads no table in ${table.dtype}`);
  const rows = sizeOf(ids.shape);
  return tensor({
    name: "gather",
    shape: [rows, columns],
    inputs: [table, ids],
    reference: (table, ids) => {
      const y = new Float64Array(rows * columns);
      ids.forEach((id, n) => {
        y.set(table.subarray(id * columns, (id + 1) * columns), n * columns);
      });
      return y;
    },
    dispatch: () => ({
      kernel: { name: "gather", source, entry: "forward", constants: { STORED: storedConstant(table.dtype) } },
      readsStored: true,
      params: { rows, columns, table_rows: tableRows, first: 0 },
      workgroups: linear(rows * columns, 64),
    }),
    vjp: (grad) => [scatter(grad, ids, { tableRows }), null],
  });
}

/** `target` with the rows of a part of a table added where their ids are in it, in place; the part begins with row `first` of the table. */
export function gatherPart(target: Tensor, part: Tensor, ids: Tensor, first: number): Tensor {
  const { rows: tableRows, columns } = matrixOf("gatherPart", "part", part.shape);
  const rows = sizeOf(ids.shape);
  expectShape("gatherPart", "target", target.shape, [rows, columns]);
  return tensor({
    name: "gatherPart",
    shape: target.shape,
    inputs: [target, part, ids],
    inPlace: true,
    reference: (target, part, ids) => {
      const y = target.slice();
      ids.forEach((id, n) => {
        const row = id - first;
        if (row < 0 || row >= tableRows) return;
        for (let c = 0; c < columns; c++) y[n * columns + c]! += part[row * columns + c]!;
      });
      return y;
    },
    dispatch: () => ({
      kernel: {
        name: "gather",
        source,
        entry: "forward",
        constants: { PART: true, STORED: storedConstant(part.dtype) },
      },
      readsStored: true,
      params: { rows, columns, table_rows: tableRows, first },
      workgroups: linear(rows * columns, 64),
    }),
    vjp: (grad) => [grad, scatter(grad, ids, { tableRows, first }), null],
  });
}

/** The gradient of a table: each row is the sum of x over the places that it was read for, in a fixed order. Other ids count for nothing. */
export function scatter(
  x: Tensor,
  ids: Tensor,
  { tableRows, first = 0 }: { tableRows: number; first?: number },
): Tensor {
  const { rows, columns } = matrixOf("scatter", "x", x.shape);
  expectShape("scatter", "ids", [sizeOf(ids.shape)], [rows]);
  const onto = (target: Tensor): Tensor =>
    tensor({
      name: "scatter",
      shape: [tableRows, columns],
      inputs: [target, x, ids],
      inPlace: true,
      reference: (target, x, ids) => {
        const y = target.slice();
        ids.forEach((id, n) => {
          const row = id - first;
          if (row < 0 || row >= tableRows) return;
          for (let c = 0; c < columns; c++) y[row * columns + c]! += x[n * columns + c]!;
        });
        return y;
      },
      dispatch: ({ software }) => ({
        kernel: { name: "gather", source, entry: "scatter", constants: { WORKGROUP: software ? 8 : 64 } },
        params: { rows, columns, table_rows: tableRows, first },
        workgroups: linear(rows, 1),
      }),
      vjp: (grad) => [grad, gatherPart(zeros([rows, columns]), grad, ids, first), null],
      into: onto,
    });
  return onto(zeros([tableRows, columns]));
}
