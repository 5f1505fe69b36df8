/**
 * The loss of a student that is to say what a teacher would: the divergence between their softmaxes at a temperature, the cross-entropy
 * with the data beside it (https://arxiv.org/abs/1503.02531; DistilGPT2's, https://arxiv.org/abs/1910.01108), and the cosine between their
 * last hidden states. The teacher's logits are computed chunk by chunk beside the student's.
 */

import { add } from "../ops/add";
import { cosine } from "../ops/cosine";
import { crossEntropyBackward, STATISTICS, tokenStatistics } from "../ops/cross-entropy";
import { DIVERGENCE, divergenceBackward, divergenceStatistics } from "../ops/divergence";
import { scale, subtract } from "../ops/elementwise";
import { fill } from "../ops/fill";
import { concat, slice } from "../ops/parts";
import { sum } from "../ops/reduce";
import { matrixOf } from "../tensor/shape";
import { type Tensor, view } from "../tensor/tensor";
import type { HeadLoss, RowLoss } from "./head";
import type { HeadOptions, Model } from "./model";

export interface Distilling {
  /** What the divergence, the cross-entropy with the data and the hidden states' cosine distance count. */
  readonly weights: { readonly divergence: number; readonly data: number; readonly hidden: number };
  /** 0 is KL(teacher || student), 1 KL(student || teacher), between them the generalised JSD. */
  readonly beta: number;
  /** What both logits are divided by. The divergence counts its square, which keeps the scale of its gradient. */
  readonly temperature: number;
}

/** Told of a step beside the loss: each a mean over tokens. */
export const distilled = ["divergence", "nll", "entropy", "mean_token_accuracy"] as const;

/** `teacher`: rows of its last hidden states [N, C'], in the same order as the student's; `targets`: [N] (u32). */
export function distillation(
  teacher: { readonly model: Model; readonly hidden: Tensor },
  targets: Tensor,
  { weights: share, beta, temperature }: Distilling,
): RowLoss {
  return {
    metrics: ["loss", ...distilled, "mean_logits"],
    chunk(logits, rows, weights) {
      const { rows: count } = matrixOf("distillation", "logits", logits.shape);
      const column = (x: Tensor, step: number) => view(slice(x, { count, step }), [count, 1]);
      const cooled = (x: Tensor) => scale(x, 1 / temperature);
      const own = rows(targets);
      const statistics = tokenStatistics(logits, own);
      const pair = [cooled(logits), cooled(teacher.model.logits(rows(teacher.hidden)))] as const;
      const known = divergenceStatistics(...pair, own, { beta });
      const divergence = scale(column(known, DIVERGENCE), temperature ** 2);
      const loss = add(scale(divergence, share.divergence), scale(column(statistics, STATISTICS), share.data));
      // Squared for the scale, and once less for the logits that were divided.
      const nearer = scale(divergenceBackward(...pair, own, known, weights, { beta }), share.divergence * temperature);
      const data = scale(crossEntropyBackward(logits, own, statistics, weights), share.data);
      return { values: [loss, divergence, statistics], dLogits: share.data === 0 ? nearer : add(nearer, data) };
    },
  };
}

/** Adds the sum over rows of weight times (1 - cos) of the hidden states of both, [N, C]: every row counts. `weight`: [1]. */
function withHidden(
  { loss, sums, metrics }: HeadLoss,
  student: Tensor,
  teacher: Tensor,
  { weight, share }: { readonly weight: Tensor; readonly share: number },
): HeadLoss {
  const { rows } = matrixOf("withHidden", "student", student.shape);
  const apart = scale(sum(subtract(fill([rows], 1), cosine(student, teacher))), weight);
  const more = scale(apart, share);
  const last = metrics.length - 1;
  const told = slice(sums, { first: 1, count: last - 1 });
  return {
    loss: add(loss, more),
    sums: concat([add(slice(sums, { count: 1 }), more), told, apart, slice(sums, { first: last, count: 1 })]),
    metrics: [...metrics.slice(0, last), "hidden", metrics[last]!],
  };
}

/** A micro-batch as the head sees it. */
export interface Places {
  readonly tokens: Tensor;
  readonly positions: Tensor;
  readonly length: number;
  readonly starts?: Tensor | undefined;
  /** Of a tensor of one row for each token, those that are predicted from: [N, C]. */
  rows(x: Tensor): Tensor;
  /** [N] (u32). */
  readonly targets: Tensor;
  /** [1]. */
  readonly weight: Tensor;
}

/** A loss of hidden states: of what `Places` says, with the student's rows [N, C]. */
export type HeadLossOf = (student: Model, hidden: Tensor, places: Places, options: HeadOptions) => HeadLoss;

export function towards(teacher: Model, how: Distilling): HeadLossOf {
  return (student, hidden, { tokens, positions, rows, targets, weight, ...shape }, options) => {
    const own = rows(teacher.hidden(tokens, positions, shape));
    const loss = student.loss(hidden, distillation({ model: teacher, hidden: own }, targets, how), weight, options);
    const share = how.weights.hidden;
    return share === 0 ? loss : withHidden(loss, hidden, own, { weight, share });
  };
}
