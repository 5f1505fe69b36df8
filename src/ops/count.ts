/** Counting the tokens that have occurred, for penalties. */
import source from "../../kernels/count.wgsl" with { type: "text" };
import { expectShape, matrixOf } from "../tensor/shape";
import { type Tensor, tensor } from "../tensor/tensor";

/** A token that was written counts this much, one of the prompt counts 1: so a count tells both. */
export const WRITTEN = 65536;

/** `counts` with one written token a sequence counted, in place: [B, V], [B] -> [B, V] (all u32). */
export function countTokens(counts: Tensor, tokens: Tensor): Tensor {
  const { rows, columns } = matrixOf("countTokens", "counts", counts.shape);
  expectShape("countTokens", "tokens", tokens.shape, [rows]);
  return tensor({
    name: "countTokens",
    shape: counts.shape,
    dtype: "u32",
    inputs: [counts, tokens],
    inPlace: true,
    reference: (counts, tokens) => {
      const y = counts.slice();
      for (let b = 0; b < rows; b++) y[b * columns + tokens[b]!]! += WRITTEN;
      return y;
    },
    dispatch: () => ({
      kernel: { name: "count", source, entry: "forward" },
      params: { rows, columns, step: WRITTEN },
      workgroups: [rows, 1, 1],
    }),
  });
}
