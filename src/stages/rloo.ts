/**
 * REINFORCE leave-one-out (https://arxiv.org/abs/2402.14740): an answer is worth what its reward, less its divergence from the reference, is
 * above the mean of the others to the same prompt; the ratio is that of whole answers. Names, defaults and metrics follow TRL's RLOOTrainer
 * (https://huggingface.co/docs/trl/rloo_trainer).
 */
import { z } from "zod";
import { extreme } from "../model/extreme";
import { answerRatios, clipped, clippedParts } from "../model/policy-losses";
import { addScalar } from "../ops/elementwise";
import { segmentMean } from "../ops/segments";
import { detach } from "../tensor/tensor";
import type { Training } from "../train/settings";
import type { Built, Context } from "./context";
import type { Planned } from "./kind";
import { leaveOneOut } from "./online/advantages";
import { checkRewards, groupProblems, online, onlineLine, onlineProblems, onlineSettings } from "./online/config";
import { type Objective, type OnPolicy, over } from "./online/feeding";
import { grouped } from "./online/grouped";
import { rewardFiles, rewardModels } from "./online/rewarding";

const rates = [1e-6, 1e-5] as const;

export const schema = z
  .strictObject({
    kind: z.literal("rloo").meta({ description: "rewards of answers that the policy writes, by RLOO" }),
    ...online({ name: "rloo", rates, round: { prompts: 32, samples: 2 }, temperature: 1 }),
    dynamicSampling: z.number().min(1).max(1000).optional().meta({
      description:
        "asks further prompts in the place of those whose answers all have one reward (DAPO, arXiv 2503.14476): at most so many times rollout.prompts",
    }),
    epsilon: z.number().gt(0).lt(1).default(0.2).meta({ description: "a ratio counts from 1 less this on" }),
    epsilonHigh: z.number().gt(0).max(1000).optional().meta({ description: "and up to 1 and this; epsilon if absent" }),
    beta: z.number().min(0).max(1000).default(0.05).meta({
      description:
        "what the divergence from the reference (k1, of a whole answer) takes off its reward; at 0 there is no reference",
    }),
    reference: z.string().min(1).optional().meta({
      description:
        "with beta: the model that the policy is held to, a stage, a run, a directory, a Hub name; what it starts from if absent",
      neutral: true,
    }),
    normalise: z
      .boolean()
      .default(false)
      .meta({ description: "brings advantages to mean 0 and deviation 1 over the round" }),
    maskTruncated: z.boolean().default(false).meta({
      description: "learns nothing from answers that were cut off for want of room",
    }),
    iterations: z.int().min(1).max(1000).default(1).meta({ description: "passes over the answers of a round" }),
  })
  .superRefine((config, context) => {
    const problems = [...onlineProblems(config), ...groupProblems(config)];
    if (config.reference !== undefined && config.beta === 0)
      problems.push([["reference"], "is not used without beta: leave it out"]);
    for (const [path, message] of problems) context.addIssue({ code: "custom", path: [...path], message });
  });

export type RlooConfig = z.infer<typeof schema>;

export const settings = (config: RlooConfig): Training => onlineSettings(config, rates);
export const reads = (config: RlooConfig) => ({ reference: config.reference, ...rewardModels(config) });
export const files = (config: RlooConfig) => rewardFiles(config);

/** The loss of a micro-batch, and what is told of it. */
export function objectiveOf({ epsilon: low, epsilonHigh: high = low }: RlooConfig) {
  return ({ policy, fed, answers, rows, ofAnswers }: OnPolicy): Objective => {
    const ratio = answerRatios({ policy, old: fed.old }, answers, rows);
    // Each token carries what its answer is worth.
    const advantages = segmentMean(fed.advantages, answers, rows);
    const parts = clippedParts(ratio, advantages, { low, high });
    const [lows, highs] = [over(parts.low, ofAnswers), over(parts.high, ofAnswers)];
    return {
      loss: over(clipped(ratio, advantages, { low, high }), ofAnswers),
      told: {
        ratio: over(detach(ratio), ofAnswers),
        "clip_ratio/low_mean": lows,
        "clip_ratio/low_min": extreme(parts.low, ofAnswers, "least"),
        "clip_ratio/high_mean": highs,
        "clip_ratio/high_max": extreme(parts.high, ofAnswers, "most"),
        "clip_ratio/region_mean": addScalar(lows, highs),
      },
    };
  };
}

export const line = (config: RlooConfig) => onlineLine(config);
export const check = (config: RlooConfig, planned: Planned) => checkRewards(config, planned);

export async function build(config: RlooConfig, context: Context): Promise<Built> {
  const { beta, rollout, normalise, iterations, minibatches } = config;
  return grouped(config, context, {
    beta,
    penalised: true,
    masked: config.maskTruncated,
    passes: iterations,
    apart: false,
    advantages: ([rewards]) => leaveOneOut(rewards!, { size: rollout.samples, normalise }),
    objective: objectiveOf(config),
    // The loss is one of answers.
    weigh: () => () => 0,
    lines: [
      iterations * minibatches === 1
        ? "one step a round: the ratio is always 1, and nothing is clipped"
        : `${iterations * minibatches} steps a round: the ratio is 1 in the first`,
      "the loss begins at 0, since advantages of a group add up to 0; its gradient does not",
    ],
  });
}
