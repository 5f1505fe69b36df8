/**
 * Group relative policy optimisation (https://arxiv.org/abs/2402.03300): a policy writes several answers to each prompt, and learns from how
 * much better each is than the others. Names, defaults and metrics follow TRL's GRPOTrainer (https://huggingface.co/docs/trl/grpo_trainer).
 */
import { z } from "zod";
import { extreme } from "../model/extreme";
import {
  type Clip,
  cispo,
  clipped,
  clippedParts,
  divergence,
  ratios,
  sapo,
  sequenceRatios,
} from "../model/policy-losses";
import { add } from "../ops/add";
import { addScalar, scale } from "../ops/elementwise";
import { segmentMean } from "../ops/segments";
import { detach, type Tensor } from "../tensor/tensor";
import type { Training } from "../train/settings";
import type { Built, Context } from "./context";
import type { Planned } from "./kind";
import { groupAdvantages } from "./online/advantages";
import { checkRewards, groupProblems, online, onlineLine, onlineProblems, onlineSettings } from "./online/config";
import { type Objective, type OnPolicy, over } from "./online/feeding";
import { grouped } from "./online/grouped";
import type { OnlineMethod } from "./online/online";
import { rewardFiles, rewardModels } from "./online/rewarding";
import { tokensOf } from "./online/rounds";

const rates = [1e-6, 1e-5] as const;

/** What a token's loss is divided by. */
const normalisers = {
  grpo: "its answer's tokens, and the step's answers",
  bnpo: "the step's tokens",
  dr_grpo: "the step's answers times rollout.tokens",
  dapo: "a step's share of the round's tokens",
  cispo: "a step's share of the round's tokens",
  sapo: "its answer's tokens, and the step's answers",
} as const;
export type GrpoLoss = keyof typeof normalisers;
export const lossNames = Object.keys(normalisers) as [GrpoLoss, ...GrpoLoss[]];

export const schema = z
  .strictObject({
    kind: z.literal("grpo").meta({ description: "rewards of answers that the policy writes, by GRPO" }),
    ...online({ name: "grpo", rates, round: { prompts: 16, samples: 8 }, temperature: 1 }),
    dynamicSampling: z.number().min(1).max(1000).optional().meta({
      description:
        "asks further prompts in the place of those whose answers all have one reward (DAPO, arXiv 2503.14476): at most so many times rollout.prompts",
    }),
    loss: z.enum(lossNames).default("dapo").meta({
      description:
        "grpo, bnpo, dr_grpo and dapo are the clipped surrogate and differ in what a token counts for; cispo, sapo",
    }),
    ratio: z.enum(["token", "sequence"]).default("token").meta({
      description: "of each token, or the geometric mean of its answer's (GSPO, arXiv 2507.18071)",
    }),
    scale: z.enum(["group", "batch", "none"]).default("group").meta({
      description: "what divides an advantage: the deviation of its group's rewards, of all, or nothing",
    }),
    aggregation: z.enum(["sum_then_normalize", "normalize_then_sum"]).default("sum_then_normalize").meta({
      description:
        "with several rewards: they are added up first, or each is normalised first (GDPO, arXiv 2601.05242)",
    }),
    epsilon: z
      .number()
      .gt(0)
      .lt(1)
      .optional()
      .meta({ description: "a ratio counts from 1 less this on; 0.2 if absent" }),
    epsilonHigh: z.number().gt(0).max(1000).optional().meta({
      description: "and up to 1 and this; epsilon if absent. Of cispo the largest ratio itself, 5 if absent",
    }),
    temperatures: z
      .strictObject({
        positive: z.number().gt(0).max(100).default(1).meta({ description: "of what is better than others" }),
        negative: z.number().gt(0).max(100).default(1.05).meta({ description: "of what is worse" }),
      })
      .optional()
      .meta({ description: "of sapo's gates" }),
    beta: z.number().min(0).max(1000).default(0).meta({
      description: "what the divergence from the reference (k3) costs; at 0 there is no reference",
    }),
    reference: z.string().min(1).optional().meta({
      description:
        "with beta: the model that the policy is held to, a stage, a run, a directory, a Hub name; what it starts from if absent",
      neutral: true,
    }),
    corrected: z.boolean().optional().meta({
      description:
        "with beta: multiplies the divergence by the ratio, which makes its gradient that of KL(policy || reference); true if absent",
    }),
    maskTruncated: z.boolean().default(false).meta({
      description: "learns nothing from answers that were cut off for want of room",
    }),
    iterations: z.int().min(1).max(1000).default(1).meta({ description: "passes over the answers of a round" }),
  })
  .superRefine((config, context) => {
    for (const [path, message] of [...onlineProblems(config), ...groupProblems(config), ...problemsOf(config)])
      context.addIssue({ code: "custom", path: [...path], message });
  });

export type GrpoConfig = z.infer<typeof schema>;

/** Options that would count for nothing. */
function problemsOf(config: GrpoConfig): [string[], string][] {
  const { loss, beta, rewards } = config;
  const problems: [string[], string][] = [];
  const unused = (key: keyof GrpoConfig, used: boolean, by: string) => {
    if (config[key] !== undefined && !used) problems.push([[key], `is not used ${by}: leave it out`]);
  };
  unused("epsilon", loss !== "cispo" && loss !== "sapo", `by ${loss}`);
  unused("epsilonHigh", loss !== "sapo", "by sapo");
  unused("temperatures", loss === "sapo", `by ${loss}`);
  unused("reference", beta > 0, "without beta");
  unused("corrected", beta > 0, "without beta");
  if (config.aggregation === "normalize_then_sum" && rewards.length === 1)
    problems.push([["aggregation"], "one reward has no others to be added to: leave it out"]);
  if (config.aggregation === "normalize_then_sum" && config.scale !== "group")
    problems.push([["scale"], "with normalize_then_sum each reward is divided by its group's deviation: leave it out"]);
  return problems;
}

export const settings = (config: GrpoConfig): Training => onlineSettings(config, rates);
export const reads = (config: GrpoConfig) => ({ reference: config.reference, ...rewardModels(config) });
export const files = (config: GrpoConfig) => rewardFiles(config);

/** Where a ratio is clipped. */
function bounds({ epsilon: low = 0.2, loss, epsilonHigh = loss === "cispo" ? 5 : low }: GrpoConfig): Clip {
  return { low, high: epsilonHigh };
}

/** The loss of a micro-batch, and what is told of it. */
export function objectiveOf(config: GrpoConfig) {
  const { loss, ratio: level, beta, corrected = true, temperatures: gates = { positive: 1, negative: 1.05 } } = config;
  const clip = bounds(config);
  return ({ policy, fed, answers, rows, weights, ofTokens, ofAnswers }: OnPolicy): Objective => {
    const { old, reference, advantages } = fed;
    const tokens = { policy, old, advantages };
    const ratio = level === "token" ? ratios(tokens) : sequenceRatios(tokens, answers, rows);
    const surrogate = {
      cispo: () => cispo(tokens, ratio, clip.high),
      sapo: () => sapo(ratio, advantages, gates),
      clipped: () => clipped(ratio, advantages, clip),
    }[loss === "cispo" || loss === "sapo" ? loss : "clipped"]();
    const kl = beta > 0 ? divergence(policy, reference, corrected ? ratio : undefined) : null;
    const value = over(kl ? add(surrogate, scale(kl, beta)) : surrogate, weights);
    const each = (x: Tensor) => segmentMean(detach(x), answers, rows);
    // A ratio of whole answers has one value for each.
    const mean = (x: Tensor) => (level === "token" ? over(detach(x), ofTokens) : over(each(x), ofAnswers));
    const told = { ratio: mean(ratio), ...(kl && { kl: over(detach(kl), ofTokens) }) };
    if (loss === "sapo") return { loss: value, told };
    if (loss === "cispo") {
      const above = clippedParts(ratio, advantages, { low: 1, high: clip.high - 1 }).high;
      return { loss: value, told: { ...told, cispo_clip_ratio: mean(above) } };
    }
    const parts = clippedParts(ratio, advantages, clip);
    const [lows, highs] = [mean(parts.low), mean(parts.high)];
    return {
      loss: value,
      told: {
        ...told,
        "clip_ratio/low_mean": lows,
        "clip_ratio/low_min": extreme(each(parts.low), ofAnswers, "least"),
        "clip_ratio/high_mean": highs,
        "clip_ratio/high_max": extreme(each(parts.high), ofAnswers, "most"),
        "clip_ratio/region_mean": addScalar(lows, highs),
      },
    };
  };
}

/** What each token of an answer counts for, of a step's answers and a round's. */
export function weighing({ loss, rollout, minibatches }: GrpoConfig): OnlineMethod["weigh"] {
  return (step, round) => {
    switch (loss) {
      case "grpo":
      case "sapo":
        return ({ example }) => 1 / (step.length * example.targets);
      case "bnpo": {
        const tokens = tokensOf(step);
        return () => 1 / tokens;
      }
      case "dr_grpo":
        return () => 1 / (step.length * rollout.tokens);
      case "dapo":
      case "cispo": {
        const tokens = tokensOf(round);
        return () => minibatches / tokens;
      }
      default:
        throw new Error(`loss ${loss satisfies never}`);
    }
  };
}

export const line = (config: GrpoConfig) => onlineLine(config);
export const check = (config: GrpoConfig, planned: Planned) => checkRewards(config, planned);

export async function build(config: GrpoConfig, context: Context): Promise<Built> {
  const { loss, beta, corrected = true, iterations, minibatches, rollout, aggregation } = config;
  return grouped(config, context, {
    beta,
    masked: config.maskTruncated,
    passes: iterations,
    apart: aggregation === "normalize_then_sum",
    advantages: (rewards, { weights }) =>
      groupAdvantages(rewards, { size: rollout.samples, scale: config.scale, aggregation, weights }),
    objective: objectiveOf(config),
    weigh: weighing(config),
    lines: [
      iterations * minibatches === 1
        ? "one step a round: the ratio is always 1, and nothing is clipped"
        : `${iterations * minibatches} steps a round: the ratio is 1 in the first`,
      loss === "grpo"
        ? "the loss begins at 0, since advantages of a group add up to 0; its gradient does not"
        : `a loss of ${loss} tells nothing by itself: a token's is divided by ${normalisers[loss]}`,
      ...(beta > 0
        ? [
            `the divergence is k3${corrected ? " times the ratio, with the gradient of KL(policy || reference)" : ", with the gradient of KL(reference || policy)"}; it begins at 0`,
          ]
        : []),
    ],
  });
}
