/**
 * Losses of preferences over the log-probabilities of whole completions: one number a pair, in TRL's names (1.13, trl/trainer/dpo_trainer.py).
 * Each is a formula over log-ratios, which are log-probabilities less those of a reference: a of the chosen side, b of the rejected.
 */
import { add } from "../ops/add";
import {
  atMost,
  clamp,
  divide,
  exp,
  logSigmoid,
  multiply,
  relu,
  scale,
  shift,
  sigmoid,
  square,
  subtract,
} from "../ops/elementwise";
import { fill } from "../ops/fill";
import { sort } from "../ops/sort";
import { sizeOf } from "../tensor/shape";
import { type Tensor, view } from "../tensor/tensor";

/** One side of every pair, [P] each: sums over a completion's tokens. */
export interface Side {
  readonly logProbs: Tensor;
  /** The same where every token counts whole, if that is another. */
  readonly whole?: Tensor | undefined;
  readonly reference: Tensor;
  /** Tokens of the completion, as floats. */
  readonly lengths: Tensor;
}

/** The pairs of a micro-batch. */
export interface Pairs {
  readonly chosen: Side;
  readonly rejected: Side;
  /** [P]: 1 / the pairs of the step; 0 where there is no pair. */
  readonly weights: Tensor;
  /** [1]: tokens of a chosen answer, the mean over the step. */
  readonly meanLength: Tensor;
}

export interface PairOptions {
  /** How strongly the policy is held to the reference: the larger, the more. */
  readonly beta: number;
  /** The share of pairs whose sides are taken to be the other way round. */
  readonly labelSmoothing: number;
  readonly divergence: Divergence;
  /** Of the alpha divergence. */
  readonly alpha: number;
  /** Temperature of discopop. */
  readonly tau: number;
}

/** The score of a log-ratio x. https://arxiv.org/abs/2309.16240, as TRL's correction of July 2026 has it. */
export const divergences = {
  reverse_kl: (x) => x,
  forward_kl: (x) => shift(scale(exp(scale(x, -1)), -1), 1),
  js_divergence: (x) => shift(logSigmoid(x), Math.LN2),
  alpha_divergence: (x, alpha) => scale(shift(exp(clamp(scale(x, alpha - 1), -80, 80)), -1), 1 / (alpha - 1)),
} as const satisfies Readonly<Record<string, (x: Tensor, alpha: number) => Tensor>>;

export type Divergence = keyof typeof divergences;

/** What a loss sees: scores by the divergence where `divergent`, else the log-ratios as they are. */
interface Scores extends PairOptions, Pairs {
  readonly a: Tensor;
  readonly b: Tensor;
}

interface PairLoss {
  /** [P]. */
  readonly loss: (scores: Scores) => Tensor;
  /** Whether the divergence is its own, or only reverse KL goes with it. */
  readonly divergent: boolean;
  /** The label smoothing that it allows. */
  readonly smoothing: "none" | "any" | "needed" | "below half";
}

/** -log sigmoid(x). */
export const surprise = (x: Tensor) => scale(logSigmoid(x), -1);
const negative = (x: Tensor) => scale(x, -1);
/** -(1 - e) log sigmoid(x) - e log sigmoid(-x): a label that is wrong with probability e. */
export const smoothed = (x: Tensor, e: number) =>
  e === 0 ? surprise(x) : add(scale(surprise(x), 1 - e), scale(surprise(negative(x)), e));
const difference = ({ a, b }: Scores) => subtract(a, b);
const margin = (scores: Scores) => scale(difference(scores), scores.beta);
/** The difference of the means of a token. */
const ofMeans = ({ a, b, chosen, rejected }: Scores) =>
  subtract(divide(a, chosen.lengths), divide(b, rejected.lengths));
/** Sorted over the micro-batch; those that are no pairs are the last, as they were before. */
function sorted(x: Tensor, { weights }: Pairs): Tensor {
  const absent = scale(atMost(weights, fill([1], 0)), 1e30);
  return view(sort(view(add(x, absent), [1, sizeOf(x.shape)])), x.shape);
}

export const pairLosses = {
  /** https://arxiv.org/abs/2305.18290, equation 7; with smoothing https://ericmitchell.ai/cdpo.pdf. */
  sigmoid: {
    loss: (scores) => smoothed(margin(scores), scores.labelSmoothing),
    divergent: true,
    smoothing: "any",
  },
  /** https://arxiv.org/abs/2309.06657. */
  hinge: { loss: (scores) => relu(shift(negative(margin(scores)), 1)), divergent: true, smoothing: "none" },
  /** https://arxiv.org/abs/2310.12036, equation 17, over means of a token. */
  ipo: {
    loss: (scores) => square(shift(ofMeans(scores), -1 / (2 * scores.beta))),
    divergent: true,
    smoothing: "none",
  },
  /** https://arxiv.org/abs/2402.00856, equation 16. */
  exo_pair: {
    loss(scores) {
      const [x, e] = [margin(scores), scores.labelSmoothing];
      const side = (x: Tensor, target: number) => multiply(sigmoid(x), shift(logSigmoid(x), -Math.log(target)));
      return add(side(x, 1 - e), side(negative(x), e));
    },
    divergent: true,
    smoothing: "needed",
  },
  /** https://arxiv.org/abs/2402.05369, of pairs. */
  nca_pair: {
    loss({ a, b, beta }) {
      const [x, y] = [scale(a, beta), scale(b, beta)];
      return add(surprise(x), scale(add(surprise(negative(x)), surprise(negative(y))), 0.5));
    },
    divergent: false,
    smoothing: "none",
  },
  /** https://arxiv.org/abs/2403.00409. */
  robust: {
    loss(scores) {
      const [x, e] = [margin(scores), scores.labelSmoothing];
      return scale(subtract(scale(surprise(x), 1 - e), scale(surprise(negative(x)), e)), 1 / (1 - 2 * e));
    },
    divergent: true,
    smoothing: "below half",
  },
  /** https://arxiv.org/abs/2404.04656, with its running mean left at 0. */
  bco_pair: {
    loss: ({ a, b, beta }) => add(surprise(scale(a, beta)), surprise(scale(b, -beta))),
    divergent: false,
    smoothing: "none",
  },
  /** https://arxiv.org/abs/2405.00675, with hard probabilities. */
  sppo_hard: {
    loss: ({ a, b, beta }) => add(square(shift(a, -0.5 / beta)), square(shift(b, 0.5 / beta))),
    divergent: false,
    smoothing: "none",
  },
  /** https://arxiv.org/abs/2406.05882, of pairs: margins of the policy and of the reference, each sorted over the micro-batch. */
  aot: {
    loss(scores) {
      const { chosen, rejected, beta, labelSmoothing } = scores;
      const policy = sorted(subtract(chosen.logProbs, rejected.logProbs), scores);
      const reference = sorted(subtract(chosen.reference, rejected.reference), scores);
      return smoothed(scale(subtract(policy, reference), beta), labelSmoothing);
    },
    divergent: false,
    smoothing: "any",
  },
  /** The same of sides that are no pairs. */
  aot_unpaired: {
    loss: (scores) =>
      smoothed(scale(subtract(sorted(scores.a, scores), sorted(scores.b, scores)), scores.beta), scores.labelSmoothing),
    divergent: false,
    smoothing: "any",
  },
  /** https://arxiv.org/abs/2408.06266, equation 7: the chosen is to become likelier, the rejected less likely. */
  apo_zero: {
    loss: ({ a, b, beta }) => shift(subtract(sigmoid(scale(b, beta)), sigmoid(scale(a, beta))), 1),
    divergent: false,
    smoothing: "none",
  },
  /** Its equation 8: both are to become less likely, the rejected more so. */
  apo_down: {
    loss: (scores) => shift(subtract(sigmoid(scale(scores.a, scores.beta)), sigmoid(margin(scores))), 1),
    divergent: false,
    smoothing: "none",
  },
  /** https://arxiv.org/abs/2406.08414: between a logistic and an exponential loss. Its slope at 0 has the wrong sign. */
  discopop: {
    loss(scores) {
      const x = margin(scores);
      const share = sigmoid(scale(x, 1 / scores.tau));
      return add(multiply(surprise(x), shift(negative(share), 1)), multiply(exp(negative(x)), share));
    },
    divergent: true,
    smoothing: "none",
  },
  /** The cross-entropy of a token of the chosen side: a pair's part of it, so that the mean over pairs is the mean over tokens. */
  sft: {
    loss: ({ chosen, meanLength }) => divide(negative(chosen.whole ?? chosen.logProbs), meanLength),
    divergent: true,
    smoothing: "none",
  },
  /** https://arxiv.org/abs/2411.15124 (Tülu 3): DPO over means of a token. */
  sigmoid_norm: {
    loss: (scores) => surprise(scale(ofMeans(scores), scores.beta)),
    divergent: true,
    smoothing: "none",
  },
} as const satisfies Readonly<Record<string, PairLoss>>;

export type PairLossName = keyof typeof pairLosses;

/** [P]: the loss of each pair. */
export function pairLoss(name: PairLossName, pairs: Pairs, options: PairOptions): Tensor {
  const { loss, divergent }: PairLoss = pairLosses[name];
  const score = divergences[divergent ? options.divergence : "reverse_kl"];
  const of = ({ logProbs, reference }: Side) => score(subtract(logProbs, reference), options.alpha);
  return loss({ ...options, ...pairs, a: of(pairs.chosen), b: of(pairs.rejected) });
}
