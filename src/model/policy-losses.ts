/**
 * Losses of a policy's tokens by what they were worth, each by its formula: a gradient follows from it. All are of log-probabilities under
 * the policy and under the one that wrote the tokens.
 */

import { add } from "../ops/add";
import {
  above,
  clamp,
  divide,
  exp,
  maximum,
  minimum,
  multiply,
  scale,
  shift,
  sigmoid,
  square,
  subtract,
} from "../ops/elementwise";
import { fill } from "../ops/fill";
import { segmentMean, segmentSum, takeRows } from "../ops/segments";
import { sizeOf } from "../tensor/shape";
import { detach, type Tensor } from "../tensor/tensor";

export interface Tokens {
  /** [N]: log-probabilities of tokens under the policy, differentiable, and under the one that wrote them. */
  readonly policy: Tensor;
  readonly old: Tensor;
  /** [N]: what each is worth. */
  readonly advantages: Tensor;
}

/** [N]: how much likelier a token is to the policy than to the one that wrote it. */
export function ratios({ policy, old }: Pick<Tokens, "policy" | "old">): Tensor {
  return exp(subtract(policy, old));
}

/**
 * [N]: the geometric mean of an answer's ratios, for each of its tokens (GSPO, https://arxiv.org/abs/2507.18071, equation 7). `answers`: which
 * answer each token is of (u32), of `count`.
 */
export function sequenceRatios(tokens: Pick<Tokens, "policy" | "old">, answers: Tensor, count: number): Tensor {
  return exp(takeRows(segmentMean(subtract(tokens.policy, tokens.old), answers, count), answers));
}

/** [count]: the ratio of whole answers (RLOO, https://arxiv.org/abs/2402.14740). */
export function answerRatios({ policy, old }: Pick<Tokens, "policy" | "old">, answers: Tensor, count: number): Tensor {
  return exp(segmentSum(subtract(policy, old), answers, count));
}

export interface Clip {
  /** A ratio counts from 1 - low to 1 + high. */
  readonly low: number;
  readonly high: number;
}

/** The clipped surrogate (https://arxiv.org/abs/1707.06347, equation 7), negated: [N]. */
export function clipped(ratio: Tensor, advantages: Tensor, { low, high }: Clip): Tensor {
  const bounded = clamp(ratio, 1 - low, 1 + high);
  return scale(minimum(multiply(ratio, advantages), multiply(bounded, advantages)), -1);
}

/** CISPO (https://arxiv.org/abs/2506.13585, equation 4): a ratio only weighs, `high` at most, and every token has a gradient. */
export function cispo({ policy, advantages }: Tokens, ratio: Tensor, high: number): Tensor {
  const weight = detach(clamp(ratio, 0, high));
  return scale(multiply(multiply(weight, advantages), policy), -1);
}

/** SAPO (https://arxiv.org/abs/2511.20347, equation 5): a soft gate instead of a clip, of its own temperature for what is worth less than others. */
export function sapo(
  ratio: Tensor,
  advantages: Tensor,
  { positive, negative }: { readonly positive: number; readonly negative: number },
): Tensor {
  const better = above(advantages, fill(advantages.shape, 0));
  const temperature = add(scale(better, positive), scale(shift(scale(better, -1), 1), negative));
  const gate = divide(scale(sigmoid(multiply(temperature, shift(ratio, -1))), 4), temperature);
  return scale(multiply(gate, advantages), -1);
}

/**
 * k3 (http://joschu.net/blog/kl-approx.html): [N]. Its gradient is that of the forward divergence; multiplied by the ratio (`ratio`) the mean
 * over what the old policy wrote has the gradient of the reverse one, KL(policy || reference).
 */
export function divergence(policy: Tensor, reference: Tensor, ratio?: Tensor): Tensor {
  const d = subtract(reference, policy);
  const k3 = subtract(shift(exp(d), -1), d);
  return ratio ? multiply(k3, ratio) : k3;
}

/** Half the larger of the squared errors of a value and of one that has moved no further than `clip` from the old one: [N]. */
export function valueLoss(
  { values, old, returns }: { readonly values: Tensor; readonly old: Tensor; readonly returns: Tensor },
  clip: number,
): { readonly loss: Tensor; readonly clipped: Tensor } {
  const near = add(old, clamp(subtract(values, old), -clip, clip));
  const [plain, bounded] = [square(subtract(values, returns)), square(subtract(near, returns))];
  return { loss: scale(maximum(plain, bounded), 0.5), clipped: detach(above(bounded, plain)) };
}

/** [N]: 1 where clipping stops the gradient: a ratio below with less worth than others, or above with more. */
export function clippedParts(ratio: Tensor, advantages: Tensor, { low, high }: Clip): { low: Tensor; high: Tensor } {
  const zero = fill(advantages.shape, 0);
  const whole = (value: number) => fill([sizeOf(ratio.shape)], value);
  return {
    low: detach(multiply(above(whole(1 - low), ratio), above(zero, advantages))),
    high: detach(multiply(above(ratio, whole(1 + high)), above(advantages, zero))),
  };
}
