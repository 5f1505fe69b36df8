/** Losses that are sums over rows: each a few lines for head.ts. */
import { crossEntropyBackward, STATISTICS, tokenStatistics } from "../ops/cross-entropy";
import { exp, multiply, scale } from "../ops/elementwise";
import { slice } from "../ops/parts";
import { matrixOf } from "../tensor/shape";
import { type Tensor, view } from "../tensor/tensor";
import type { RowLoss } from "./head";

/** What is told of a token beside its loss, as TRL calls it. The mean logit is last: language modelling does not log it. */
const told = ["entropy", "mean_token_accuracy", "mean_logits"] as const;

/** The cross-entropy with the targets, [N] (u32); nothing where the target is IGNORE. */
export function nll(targets: Tensor): RowLoss {
  return {
    metrics: ["loss", ...told],
    chunk(logits, rows, weights) {
      const statistics = tokenStatistics(logits, rows(targets));
      return { values: [statistics], dLogits: crossEntropyBackward(logits, rows(targets), statistics, weights) };
    },
  };
}

/** Each target's loss weighted by its probability, which counts as a constant: https://arxiv.org/abs/2508.05629, equation 9. */
export function dft(targets: Tensor): RowLoss {
  return {
    metrics: ["loss", "nll", ...told],
    chunk(logits, rows, weights) {
      const { rows: count } = matrixOf("dft", "logits", logits.shape);
      const statistics = tokenStatistics(logits, rows(targets));
      const surprise = slice(statistics, { count, step: STATISTICS });
      const probability = exp(scale(surprise, -1));
      const dLogits = crossEntropyBackward(logits, rows(targets), statistics, multiply(probability, weights));
      return { values: [view(multiply(probability, surprise), [count, 1]), statistics], dLogits };
    },
  };
}
