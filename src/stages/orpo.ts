/**
 * Odds-ratio preference optimisation (https://arxiv.org/abs/2403.07691): learns to answer, and to prefer, at once and without a reference.
 * Names, defaults and metrics follow TRL's ORPOTrainer (trl/experimental/orpo).
 */
import { z } from "zod";
import { add } from "../ops/add";
import { above, clamp, divide, exp, log, logSigmoid, multiply, scale, shift, subtract } from "../ops/elementwise";
import { fill } from "../ops/fill";
import { detach, type Tensor } from "../tensor/tensor";
import { type Training, withRate } from "../train/settings";
import { comparing, rowLength } from "./comparing";
import type { Built, Context } from "./context";
import { type PairData, pairStage } from "./pair-stage";
import type { Objective } from "./pairs";
import { readPairs } from "./preferences";

const rates = [1e-6, 1e-5] as const;

export const schema = z.strictObject({
  kind: z.literal("orpo").meta({ description: "pairs of answers, by ORPO: without a reference" }),
  ...comparing({ name: "orpo", rows: "pairs of a micro-batch: each has two rows", rates, epochs: 3 }),
  beta: z.number().min(0).max(1000).default(0.1).meta({ description: "weight of the odds ratio (the paper's lambda)" }),
  nll: z.enum(["answer", "all"]).default("answer").meta({
    description: "what the cross-entropy is of: the chosen answer, as in the paper, or its prompt too, as in TRL",
  }),
});

export type OrpoConfig = z.infer<typeof schema>;

export const settings = (config: OrpoConfig): Training => withRate(config, rates);

export const rowsOf = ({ batch }: OrpoConfig) => 2 * batch.rows;

export async function build(config: OrpoConfig, context: Context): Promise<Built> {
  const length = rowLength(config.batch.tokens, context.model.config.context);
  return stageOf(config, context, await readPairs(config, context, length, { overlong: "cut" }), length);
}

/** Of pairs that were read. */
export function stageOf(config: OrpoConfig, context: Context, data: PairData, length: number): Promise<Built> {
  return pairStage(config, context, {
    data,
    length,
    method: {
      objective: objectiveOf(config),
      prompts: config.nll === "all",
      expected: null,
      told: (means) => ({
        nll_loss: means.nll_loss!,
        "rewards/accuracies": means["rewards/accuracies"]!,
        log_odds_chosen: means.log_odds_chosen!,
        "logps/chosen": means["logps/chosen"]!,
      }),
    },
  });
}

/** Equation 6: the cross-entropy, and how much likelier the odds of the chosen answer are. Both by means of a token. */
function objectiveOf({ beta, nll }: OrpoConfig): Objective {
  return ({ chosen, rejected, meanLength, prompts }) => {
    const [mean, other] = [chosen, rejected].map(({ logProbs, lengths }) => divide(logProbs, lengths)) as [
      Tensor,
      Tensor,
    ];
    const odds = subtract(subtract(mean, other), subtract(log1mexp(mean), log1mexp(other)));
    const ratio = logSigmoid(odds);
    const surprise =
      nll === "answer"
        ? divide(scale(chosen.logProbs, -1), meanLength)
        : divide(scale(add(chosen.logProbs, prompts!.logProbs), -1), prompts!.meanLength);
    const [better, worse] = [scale(detach(mean), beta), scale(detach(other), beta)];
    return {
      loss: subtract(surprise, scale(ratio, beta)),
      told: {
        "rewards/chosen": better,
        "rewards/rejected": worse,
        "rewards/accuracies": above(better, worse),
        "rewards/margins": subtract(better, worse),
        "logps/chosen": mean,
        "logps/rejected": other,
        nll_loss: surprise,
        log_odds_ratio: ratio,
        log_odds_chosen: odds,
      },
    };
  };
}

/** log(1 - e^x) for x < 0. Near 0 by the series of 1 - e^x, which would be lost beside 1. */
export function log1mexp(x: Tensor): Tensor {
  const y = clamp(scale(x, -1), 1e-7, 100);
  const near = [1 / 120, -1 / 24, 1 / 6, -1 / 2, 1].reduce(
    (sum: Tensor | null, term) => (sum ? shift(multiply(sum, y), term) : fill(y.shape, term)),
    null,
  )!;
  const far = shift(scale(exp(scale(y, -1)), -1), 1);
  const isFar = above(y, fill([1], 0.1));
  return log(add(multiply(far, isFar), multiply(multiply(near, y), shift(scale(isFar, -1), 1))));
}
