/** The graph of next-token prediction over a batch: its inputs, and the weighted loss. Training, evaluation and measurements share it. */

import { input, type Tensor } from "../tensor/tensor";
import type { HiddenOptions } from "./architecture";
import type { Model } from "./model";
import { nll } from "./row-losses";

/** What is logged of them: the first sums of HeadLoss, by the names of TRL. */
export const tokenMetrics = ["loss", "entropy", "mean_token_accuracy"] as const;

export interface NextToken {
  /** [rows x length] (u32), row after row; targets may be IGNORE. */
  readonly tokens: Tensor;
  readonly positions: Tensor;
  readonly targets: Tensor;
  /** [1]: 1 / number of targets makes the loss their mean. */
  readonly weight: Tensor;
  readonly loss: Tensor;
  /** [4]: see HeadLoss. */
  readonly sums: Tensor;
  /** What to feed `positions`: 0 to length - 1 in each row. */
  readonly rowPositions: Uint32Array;
}

export function nextToken(
  model: Model,
  { rows, length, ...options }: { readonly rows: number } & Omit<HiddenOptions, "cache">,
): NextToken {
  const size = rows * length;
  const tokens = input("tokens", [size], "u32");
  const positions = input("positions", [size], "u32");
  const targets = input("targets", [size], "u32");
  const weight = input("weight", [1]);
  const { loss, sums } = model.loss(model.hidden(tokens, positions, { length, ...options }), nll(targets), weight);
  return {
    tokens,
    positions,
    targets,
    weight,
    loss,
    sums,
    rowPositions: Uint32Array.from({ length: size }, (_, i) => i % length),
  };
}
