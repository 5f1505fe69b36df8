/** Counting the tokens that have occurred, for penalties. */
import source from "../../kernels/count.wgsl" with { type: "text" };
import { expectShape, matrixOf } from "../tensor/shape";
import { type Tensor, tensor } from "../tensor/tensor";

/** A token that was written counts this much, one of the prompt counts 1: so a count tells both. */
export const WRITTEN = 65536;

/**
 * `counts` of every slot with one written token a row counted in the slot that the row is of, in place: [S, V], [R], [R, 3] -> [S, V]
 * (all u32). `streams` are as `sample` reads them: a slot past the last is none. The slots of a pass are all different.
 */
export function countTokens(counts: Tensor, tokens: Tensor, streams: Tensor): Tensor {
  const { rows: slots, columns } = matrixOf("countTokens", "counts", counts.shape);
  const [rows = 0] = tokens.shape;
  expectShape("countTokens", "streams", streams.shape, [rows, 3]);
  return tensor({
    name: "countTokens",
    shape: counts.shape,
    dtype: "u32",
    inputs: [counts, tokens, streams],
    inPlace: true,
    reference: (counts, tokens, streams) => {
      const y = counts.slice();
      for (let r = 0; r < rows; r++) {
        const slot = streams[3 * r]!;
        if (slot < slots) y[slot * columns + tokens[r]!]! += WRITTEN;
      }
      return y;
    },
    dispatch: () => ({
      kernel: { name: "count", source, entry: "forward" },
      params: { rows, columns, slots, step: WRITTEN },
      workgroups: [rows, 1, 1],
    }),
  });
}
