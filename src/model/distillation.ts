/**
 * The loss of a student that is to say what a teacher would: the divergence between their softmaxes at a temperature, the cross-entropy
 * with the data beside it (https://arxiv.org/abs/1503.02531; DistilGPT2's, https://arxiv.org/abs/1910.01108), and how far their
 * last hidden states are apart. The teacher's logits are computed chunk by chunk beside the student's.
 */

import { add } from "../ops/add";
import { crossEntropyBackward, STATISTICS, tokenStatistics } from "../ops/cross-entropy";
import { DIVERGENCE, divergenceBackward, divergenceStatistics } from "../ops/divergence";
import { scale } from "../ops/elementwise";
import { concat, slice } from "../ops/parts";
import { matrixOf } from "../tensor/shape";
import { type Tensor, view } from "../tensor/tensor";
import type { HeadLoss, RowLoss } from "./head";
import { apart, unrelated } from "./hidden-losses";
import type { HeadOptions, Model } from "./model";

export interface Distilling {
  /** What the divergence and the cross-entropy with the data count, and what of the last hidden states: `apart` and `unrelated`. */
  readonly weights: {
    readonly divergence: number;
    readonly data: number;
    readonly hidden: number;
    readonly relations: number;
  };
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

/** Adds what is learned of the hidden states: every row counts, `weight` [1] for each. */
function withHidden(
  { loss, sums, metrics }: HeadLoss,
  added: readonly { readonly name: string; readonly value: Tensor; readonly share: number }[],
): HeadLoss {
  const more = added.map(({ value, share }) => scale(value, share)).reduce((total, one) => add(total, one));
  const last = metrics.length - 1;
  const told = slice(sums, { first: 1, count: last - 1 });
  return {
    loss: add(loss, more),
    sums: concat([
      add(slice(sums, { count: 1 }), more),
      told,
      ...added.map(({ value }) => value),
      slice(sums, { first: last, count: 1 }),
    ]),
    metrics: [...metrics.slice(0, last), ...added.map(({ name }) => name), metrics[last]!],
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
    const added = hiddenLosses.flatMap(([name, of]) => {
      const share = how.weights[name];
      return share === 0 ? [] : [{ name, share, value: scale(of(hidden, own, shape.length), weight) }];
    });
    return added.length === 0 ? loss : withHidden(loss, added);
  };
}

const hiddenLosses = [
  ["hidden", apart],
  ["relations", unrelated],
] as const;
