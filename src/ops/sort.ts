/** Rows in ascending order. */
import source from "../../kernels/sort.wgsl" with { type: "text" };
import { linear } from "../device/device";
import { matrixOf } from "../tensor/shape";
import { type Launch, type Tensor, tensor } from "../tensor/tensor";

/** Each row of x in ascending order: [R, C] -> [R, C]. Gradients go back to where the numbers came from. */
export function sort(x: Tensor): Tensor {
  return permuted("place", x, ranks(x));
}

/** For each element its place in the sorted row, equals in order: [R, C] -> [R, C] (u32). Every element is compared with its whole row. */
export function ranks(x: Tensor): Tensor {
  const { rows, columns } = matrixOf("ranks", "x", x.shape);
  return tensor({
    name: "ranks",
    shape: x.shape,
    dtype: "u32",
    inputs: [x],
    reference: (x) => {
      const y = new Float64Array(rows * columns);
      for (let first = 0; first < y.length; first += columns) {
        const order = Array.from({ length: columns }, (_, c) => first + c).sort((i, j) => x[i]! - x[j]! || i - j);
        order.forEach((i, rank) => {
          y[i] = rank;
        });
      }
      return y;
    },
    dispatch: launch("ranks", rows, columns),
    vjp: () => [null],
  });
}

/** x moved within each row, to the positions ("place") or from them ("take"), which name each column once. */
function permuted(entry: "place" | "take", x: Tensor, positions: Tensor): Tensor {
  const { rows, columns } = matrixOf(entry, "x", x.shape);
  return tensor({
    name: entry === "place" ? "sort" : "unsort",
    shape: x.shape,
    inputs: [x, positions],
    reference: (x, positions) => {
      const y = new Float64Array(rows * columns);
      positions.forEach((position, i) => {
        const other = i - (i % columns) + position;
        if (entry === "place") y[other] = x[i]!;
        else y[i] = x[other]!;
      });
      return y;
    },
    dispatch: launch(entry, rows, columns),
    vjp: (grad) => [permuted(entry === "place" ? "take" : "place", grad, positions), null],
  });
}

function launch(entry: "ranks" | "place" | "take", rows: number, columns: number): () => Launch {
  return () => ({
    kernel: { name: "sort", source, entry },
    params: { rows, columns },
    workgroups: linear(rows * columns, 64),
  });
}
