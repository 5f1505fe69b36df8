/** Rows of a table by id: embeddings, and the last positions of prompts. */
import source from "../../kernels/gather.wgsl" with { type: "text" };
import { linear } from "../device/device";
import { expectShape, matrixOf, sizeOf } from "../tensor/shape";
import { type Tensor, tensor } from "../tensor/tensor";
import { zeros } from "./fill";

/** table[ids[n]] for each n: [V, C], [N] (u32) -> [N, C]. Ids are not checked on the device: check them on the way in. */
export function gather(table: Tensor, ids: Tensor): Tensor {
  const { rows: tableRows, columns } = matrixOf("gather", "table", table.shape);
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
      kernel: { name: "gather", source, entry: "forward" },
      params: { rows, columns, table_rows: tableRows },
      workgroups: linear(rows * columns, 64),
    }),
    vjp: (grad) => [scatter(grad, ids, tableRows), null],
  });
}

/** The gradient of a table: each row is the sum of x over the places that it was read for, in a fixed order. */
function scatter(x: Tensor, ids: Tensor, tableRows: number): Tensor {
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
          for (let c = 0; c < columns; c++) y[id * columns + c]! += x[n * columns + c]!;
        });
        return y;
      },
      dispatch: ({ software }) => ({
        kernel: { name: "gather", source, entry: "scatter", constants: { WORKGROUP: software ? 8 : 64 } },
        params: { rows, columns, table_rows: tableRows },
        workgroups: linear(rows, 1),
      }),
      into: onto,
    });
  return onto(zeros([tableRows, columns]));
}
