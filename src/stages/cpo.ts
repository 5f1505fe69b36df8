/**
 * Contrastive preference optimisation (https://arxiv.org/abs/2401.08417), SimPO (https://arxiv.org/abs/2405.14734) and AlphaPO
 * (https://arxiv.org/abs/2501.03884): without a reference. Names, defaults and metrics follow TRL's CPOTrainer (trl/experimental/cpo).
 */
import { z } from "zod";
import { type Side, smoothed } from "../model/pair-losses";
import { add } from "../ops/add";
import { above, clamp, divide, exp, relu, scale, shift, square, subtract } from "../ops/elementwise";
import { detach, type Tensor } from "../tensor/tensor";
import { type Training, withRate } from "../train/settings";
import { comparing, rowLength } from "./comparing";
import type { Built, Context } from "./context";
import { type PairData, pairStage } from "./pair-stage";
import type { Objective } from "./pairs";
import { readPairs } from "./preferences";

const rates = [1e-6, 1e-5] as const;

export const schema = z
  .strictObject({
    kind: z.literal("cpo").meta({ description: "pairs of answers, by CPO or SimPO: without a reference" }),
    ...comparing({ name: "cpo", rows: "pairs of a micro-batch: each has two rows", rates, epochs: 3 }),
    loss: z
      .enum(["sigmoid", "hinge", "ipo", "simpo"])
      .default("sigmoid")
      .meta({ description: "simpo and ipo compare means of a token, the others sums" }),
    beta: z.number().gt(0).max(1000).default(0.1).meta({ description: "what the difference is multiplied with" }),
    gamma: z
      .number()
      .min(0)
      .max(1000)
      .optional()
      .meta({ description: "of simpo: by how much the chosen answer is to be better; 0.5 if absent" }),
    nll: z.number().min(0).max(1000).optional().meta({
      description: "weight of the chosen answer's cross-entropy (TRL's cpo_alpha); 1 if absent, with simpo 0",
    }),
    labelSmoothing: z.number().min(0).lt(0.5).optional().meta({
      description:
        "of sigmoid and simpo: the share of pairs whose sides are taken to be the other way round; 0 if absent",
    }),
    alpha: z.number().min(-10).max(10).default(0).meta({
      description: "AlphaPO: rewards are (1 - p^-alpha) / alpha; 0 takes log p",
    }),
  })
  .superRefine(({ loss, gamma, labelSmoothing }, context) => {
    const unused = (path: string) =>
      context.addIssue({ code: "custom", path: [path], message: `is not used by ${loss}: leave it out` });
    if (gamma !== undefined && loss !== "simpo") unused("gamma");
    if (labelSmoothing !== undefined && loss !== "simpo" && loss !== "sigmoid") unused("labelSmoothing");
  });

export type CpoConfig = z.infer<typeof schema>;

export const settings = (config: CpoConfig): Training => withRate(config, rates);

export const rowsOf = ({ batch }: CpoConfig) => 2 * batch.rows;

export async function build(config: CpoConfig, context: Context): Promise<Built> {
  const length = rowLength(config.batch.tokens, context.model.config.context);
  return stageOf(config, context, await readPairs(config, context, length, { overlong: "cut" }), length);
}

/** Of pairs that were read. */
export function stageOf(config: CpoConfig, context: Context, data: PairData, length: number): Promise<Built> {
  return pairStage(config, context, {
    data,
    length,
    method: {
      objective: objectiveOf(config),
      expected: null,
      told: (means) => ({
        "rewards/accuracies": means["rewards/accuracies"]!,
        "rewards/margins": means["rewards/margins"]!,
        "logps/chosen": means["logps/chosen"]!,
      }),
    },
  });
}

/** e^x beyond it would be past float32, squared. */
const MOST_EXPONENT = 40;

function objectiveOf({
  loss,
  beta,
  gamma = 0.5,
  nll = loss === "simpo" ? 0 : 1,
  labelSmoothing: e = 0,
  alpha,
}: CpoConfig): Objective {
  const byToken = loss === "simpo" || loss === "ipo";
  const mean = ({ logProbs, lengths }: Side) => divide(logProbs, lengths);
  const reward = (side: Side) => {
    const x = byToken ? mean(side) : side.logProbs;
    if (alpha === 0) return x;
    return scale(shift(scale(exp(clamp(scale(x, -alpha), -MOST_EXPONENT, MOST_EXPONENT)), -1), 1), 1 / alpha);
  };
  const preferred = {
    sigmoid: (gap: Tensor) => smoothed(scale(gap, beta), e),
    simpo: (gap: Tensor) => smoothed(shift(scale(gap, beta), -gamma), e),
    hinge: (gap: Tensor) => relu(shift(scale(gap, -beta), 1)),
    ipo: (gap: Tensor) => square(shift(gap, -1 / (2 * beta))),
  }[loss];
  return ({ chosen, rejected, meanLength }) => {
    const [better, worse] = [reward(chosen), reward(rejected)];
    const each = preferred(subtract(better, worse));
    const surprise = divide(scale(chosen.logProbs, -1), meanLength);
    const [shownBetter, shownWorse] = [scale(detach(better), beta), scale(detach(worse), beta)];
    return {
      loss: nll === 0 ? each : add(each, scale(surprise, nll)),
      told: {
        "rewards/chosen": shownBetter,
        "rewards/rejected": shownWorse,
        "rewards/accuracies": above(shownBetter, shownWorse),
        "rewards/margins": subtract(shownBetter, shownWorse),
        ...(byToken && { "logps/chosen": mean(chosen), "logps/rejected": mean(rejected) }),
        nll_loss: surprise,
      },
    };
  };
}
