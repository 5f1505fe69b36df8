/** The graph of next-token prediction over a batch: its inputs, and the weighted loss. Training, evaluation and measurements share it. */

import { input, type Tensor } from "../tensor/tensor";
import type { HiddenOptions } from "./architecture";
import type { HeadLossOf } from "./distillation";
import type { Model } from "./model";
import { nll } from "./row-losses";

export interface NextToken {
  /** [rows x length] (u32), row after row; targets may be IGNORE. */
  readonly tokens: Tensor;
  readonly positions: Tensor;
  readonly targets: Tensor;
  /** [1]: 1 / number of targets makes the loss their mean. */
  readonly weight: Tensor;
  readonly loss: Tensor;
  /** See HeadLoss. */
  readonly sums: Tensor;
  readonly metrics: readonly string[];
  /** What to feed `positions`: 0 to length - 1 in each row. */
  readonly rowPositions: Uint32Array;
}

export function nextToken(
  model: Model,
  {
    rows,
    length,
    lossOf,
    ...options
  }: {
    readonly rows: number;
    /** The cross-entropy if absent. */
    readonly lossOf?: HeadLossOf | undefined;
  } & Omit<HiddenOptions, "cache">,
): NextToken {
  const size = rows * length;
  const tokens = input("tokens", [size], "u32");
  const positions = input("positions", [size], "u32");
  const targets = input("targets", [size], "u32");
  const weight = input("weight", [1]);
  const hidden = model.hidden(tokens, positions, { length, ...options });
  const all = (x: Tensor) => x;
  const { loss, sums, metrics } = lossOf
    ? lossOf(model, hidden, { tokens, positions, length, rows: all, targets, weight }, {})
    : model.loss(hidden, nll(targets), weight);
  return {
    tokens,
    positions,
    targets,
    weight,
    loss,
    sums,
    metrics,
    rowPositions: Uint32Array.from({ length: size }, (_, i) => i % length),
  };
}
