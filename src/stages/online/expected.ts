/** What PPO makes of answers with their scores: penalised rewards of tokens, advantages beside what the critic expected, returns. In float64. */
import { meanOf, type Score } from "./advantages";
import type { Answer } from "./answers";
import { advantagesOf, divergences, type Estimator, whitened } from "./estimates";

export interface Scored {
  readonly answers: readonly Answer[];
  /** Of each answer; null where nothing judges it. */
  readonly scores: readonly Score[];
  /** Of each answer's tokens: log-probabilities under the reference, and what the critic expects before each. */
  readonly references: readonly Float32Array[];
  readonly values: readonly Float32Array[];
}

export interface PpoOptions {
  /** What a nat of divergence costs. */
  readonly coefficient: number;
  readonly kl: { readonly estimator: Estimator };
  readonly gamma: number;
  readonly lambda: number;
  readonly whitenRewards: boolean;
  readonly whitening: "unbiased" | "biased";
}

/** The score is the reward of an answer's last token. What nothing judges teaches nothing, and enters no figure. */
export function ppoWorth(
  { answers, scores, references, values }: Scored,
  { coefficient, kl: { estimator }, gamma, lambda, whitenRewards, whitening }: PpoOptions,
) {
  const biased = whitening === "biased";
  const judged = answers.flatMap((answer, i) => {
    const score = scores[i]!;
    if (score === null) return [];
    const nats = Array.from(answer.tokens.old!, (logProb, t) => divergences[estimator](logProb, references[i]![t]!));
    const rewards = nats.map((nat, t) => -coefficient * nat + (t === nats.length - 1 ? score : 0));
    const surprise = answer.tokens.old!.reduce((sum, logProb) => sum - logProb, 0);
    return [{ i, score, rewards, surprise, divergence: nats.reduce((a, b) => a + b, 0) }];
  });
  const plain = judged.map(({ rewards }) => rewards);
  const rewards = whitenRewards ? whitened(plain, { shift: false, biased }) : plain;
  const advantages = judged.map(({ i }, j) => advantagesOf(rewards[j]!, [...values[i]!], { gamma, lambda }));
  const white = whitened(advantages, { shift: true, biased });
  const places = new Map(judged.map(({ i }, j) => [i, j]));
  const divergence = meanOf(judged.map((one) => one.divergence));
  const mean = meanOf(judged.map(({ score }) => score));
  return {
    answers: answers.map((answer, i): Answer => {
      const j = places.get(i);
      const nothing = new Float32Array(values[i]!.length);
      return {
        ...answer,
        counts: j !== undefined,
        tokens: {
          ...answer.tokens,
          reference: references[i]!,
          values: values[i]!,
          advantages: j === undefined ? nothing : Float32Array.from(white[j]!),
          returns: j === undefined ? nothing : Float32Array.from(advantages[j]!, (a, t) => a + values[i]![t]!),
        },
      };
    }),
    divergence,
    metrics: {
      "objective/kl": divergence,
      "objective/entropy": meanOf(judged.map(({ surprise }) => surprise)),
      "objective/non_score_reward": -coefficient * divergence,
      "objective/rlhf_reward": mean - coefficient * divergence,
      "objective/scores": mean,
      "objective/kl_coef": coefficient,
      "val/num_eos_tokens": answers.filter(({ ended }) => ended).length,
    },
  };
}
