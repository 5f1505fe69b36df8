/** A stage whose answers are compared with others to the same prompt: GRPO and RLOO. */
import type { Built, Context } from "../context";
import type { Advantages, Score } from "./advantages";
import type { Answer } from "./answers";
import type { OnlineConfig } from "./config";
import type { Objective, OnPolicy } from "./feeding";
import { type OnlineMethod, onlineStage } from "./online";
import { onlineParts, type ReferenceConfig } from "./parts";
import { hasSignal, tokensOf } from "./rounds";

export interface GroupedMethod extends Pick<OnlineMethod, "weigh" | "passes" | "lines"> {
  /** What the divergence from the reference costs; at 0 none is opened. */
  readonly beta: number;
  /** The divergence is taken off rewards, and not part of the loss. */
  readonly penalised?: boolean;
  /** Answers that were cut off are not learned from. */
  readonly masked: boolean;
  /** Rewards are normalised each by itself. */
  readonly apart: boolean;
  /** By reward, then by answer, group by group. */
  advantages(rewards: readonly (readonly Score[])[], by: { readonly weights: readonly number[] }): Advantages;
  objective(on: OnPolicy): Objective;
}

export async function grouped(
  config: OnlineConfig & ReferenceConfig,
  context: Context,
  method: GroupedMethod,
): Promise<Built> {
  const parts = await onlineParts(config, context, { held: method.beta > 0 });
  const { reference, rewarding } = parts;
  return onlineStage(parts, {
    ...method,
    signal: (group) => hasSignal(group, rewarding.weights, method.apart),
    async worth(answers, total, signal) {
      const found =
        reference &&
        (await reference.find(
          answers.map(({ example }) => example),
          signal,
        ));
      if (reference && !found) return null;
      const divergences = answers.map((answer, i) => divergenceOf(answer, found?.[i]));
      const rewards = method.penalised
        ? [total.map((value, i) => (value === null ? null : value - method.beta * divergences[i]!))]
        : rewarding.names.map((_, k) => answers.map(({ rewards }) => rewards[k]!));
      const { values } = method.advantages(rewards, { weights: method.penalised ? [1] : rewarding.weights });
      const metrics: Record<string, number> = {};
      const all = divergences.reduce((a, b) => a + b, 0);
      if (method.penalised && found) metrics.kl = all / tokensOf(answers);
      return {
        answers: answers.map((answer, i) => ({
          ...answer,
          counts: !method.masked || answer.ended,
          tokens: {
            ...answer.tokens,
            advantages: new Float32Array(answer.example.targets).fill(values[i]!),
            ...(found && { reference: found[i]! }),
          },
        })),
        metrics,
        divergence: found ? all / answers.length : null,
      };
    },
  });
}

/** k1 of a whole answer: the log-ratio to the reference, as it was drawn. */
function divergenceOf({ tokens: { old } }: Answer, reference: Float32Array | undefined): number {
  return reference ? old!.reduce((sum, logProb, t) => sum + logProb - reference[t]!, 0) : 0;
}
