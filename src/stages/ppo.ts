/**
 * Proximal policy optimisation from rewards (https://arxiv.org/abs/1707.06347; of language models https://arxiv.org/abs/1909.08593 and
 * https://arxiv.org/abs/2203.02155): a policy, a frozen reference that it is held to, rewards, and a critic that expects them. Settings and
 * metrics are called as in TRL's PPOTrainer, which was taken out of TRL in 2026; the score stands on an answer's last token, and padding
 * enters no figure.
 */
import { z } from "zod";
import { clipped, clippedParts, ratios, valueLoss } from "../model/policy-losses";
import { add } from "../ops/add";
import { addScalar, scale, square, subtract } from "../ops/elementwise";
import { detach } from "../tensor/tensor";
import type { Training } from "../train/settings";
import type { Built, Context } from "./context";
import type { Planned } from "./kind";
import type { Score } from "./online/advantages";
import type { Answer } from "./online/answers";
import { averageOf } from "./online/average";
import { checkRewards, online, onlineLine, onlineProblems, onlineSettings } from "./online/config";
import { type Critic, headCritic, modelCritic } from "./online/critic";
import { adapted } from "./online/estimates";
import { ppoWorth } from "./online/expected";
import { type Objective, type OnPolicy, over } from "./online/feeding";
import { onlineStage } from "./online/online";
import { onlineParts } from "./online/parts";
import { pretraining, pretrainingBeside } from "./online/pretraining";
import { rewardFiles, rewardModels } from "./online/rewarding";
import { tokensOf } from "./online/rounds";

const rates = [3e-6, 3e-5] as const;

/** The critic that is no model of its own. */
const HEAD = "head";

export const schema = z
  .strictObject({
    kind: z.literal("ppo").meta({ description: "rewards of answers that the policy writes, by PPO" }),
    ...online({ name: "ppo", rates, round: { prompts: 64, samples: 1 }, temperature: 0.7 }),
    passes: z.int().min(1).max(1000).default(4).meta({ description: "passes over the answers of a round" }),
    reference: z.string().min(1).optional().meta({
      description:
        "the model that the policy is held to: a stage, a run, a directory, a Hub name; what it starts from if absent",
      neutral: true,
    }),
    critic: z
      .string()
      .min(1)
      .optional()
      .meta({
        description: `what it starts from: a reward model, any other model with a fresh head, or ${HEAD}, a scalar head on the policy's own trunk; the first reward that is a model if absent, else ${HEAD}`,
        neutral: true,
      }),
    criticLr: z
      .number()
      .gt(0)
      .max(10)
      .optional()
      .meta({ description: "the critic's peak learning rate; the policy's if absent" }),
    kl: z
      .strictObject({
        coefficient: z.number().min(0).max(1000).default(0.05).meta({ description: "what a nat costs, at first" }),
        estimator: z.enum(["k1", "k3"]).default("k1").meta({
          description: "k1, the log-ratio, which may be negative; or k3, which never is",
        }),
        target: z.number().gt(0).max(1e6).optional().meta({
          description: "nats an answer that the coefficient is adapted to; it stays as it is if absent",
        }),
        horizon: z.number().gt(0).max(1e9).optional().meta({
          description: "with a target: answers over which the coefficient is adapted; 10000 if absent",
        }),
      })
      .prefault({}),
    gamma: z.number().min(0).max(1).default(1).meta({ description: "what a later reward counts for, token by token" }),
    lambda: z.number().min(0).max(1).default(0.95).meta({ description: "of generalised advantage estimation" }),
    clip: z.number().gt(0).lt(1).default(0.2).meta({ description: "a ratio counts from 1 less this to 1 and this" }),
    valueClip: z
      .number()
      .gt(0)
      .max(1000)
      .default(0.2)
      .meta({ description: "how far a value may move from what it was" }),
    valueCoefficient: z
      .number()
      .min(0)
      .max(1000)
      .default(0.1)
      .meta({ description: "what the value's loss is multiplied with" }),
    whitenRewards: z
      .boolean()
      .default(false)
      .meta({ description: "brings rewards to deviation 1 over the round, their mean kept" }),
    whitening: z
      .enum(["unbiased", "biased"])
      .default("unbiased")
      .meta({ description: "variances over n - 1, or over n" }),
    missingEnd: z
      .strictObject({
        penalty: z
          .number()
          .min(0)
          .max(1000)
          .optional()
          .meta({ description: "taken off the score of an answer that does not end" }),
        score: z.number().min(-1000).max(1000).optional().meta({ description: "or its score, whatever it says" }),
      })
      .optional()
      .meta({ description: "what answers get that are cut off for want of room" }),
    pretraining: pretraining.optional().meta({ description: "mixes in pretraining (PPO-ptx)" }),
    average: z.number().gt(0).lt(1).optional().meta({
      description: "saves a moving average of the weights, of this decay a step, such as 0.992",
    }),
  })
  .superRefine((config, context) => {
    for (const [path, message] of [...onlineProblems(config), ...problemsOf(config)])
      context.addIssue({ code: "custom", path: [...path], message });
  });

export type PpoConfig = z.infer<typeof schema>;

function problemsOf({ kl, missingEnd, critic, valueCoefficient }: PpoConfig): [string[], string][] {
  const problems: [string[], string][] = [];
  if (kl.horizon !== undefined && kl.target === undefined)
    problems.push([["kl", "horizon"], "is not used without kl.target: leave it out"]);
  if (kl.target !== undefined && kl.coefficient === 0)
    problems.push([["kl", "target"], "a coefficient of 0 stays 0, whatever it is adapted by: give one above 0"]);
  if (missingEnd && (missingEnd.penalty === undefined) === (missingEnd.score === undefined))
    problems.push([["missingEnd"], "give a penalty or a score, and not both"]);
  if (valueCoefficient === 0 && critic !== undefined)
    problems.push([["valueCoefficient"], "at 0 the critic learns nothing: leave critic out, or raise it"]);
  return problems;
}

export const settings = (config: PpoConfig): Training => onlineSettings(config, rates);

/** The model that the critic starts from; null where it is a head. */
function criticOf({ critic, rewards }: PpoConfig): string | null {
  const found = critic ?? Object.values(rewardModels({ rewards }))[0] ?? HEAD;
  return found === HEAD ? null : found;
}

export const reads = (config: PpoConfig) => ({
  reference: config.reference,
  critic: criticOf(config) ?? undefined,
  ...rewardModels(config),
});

export const files = (config: PpoConfig) => [
  ...rewardFiles(config),
  ...(config.pretraining ? [config.pretraining.data] : []),
];

/** The loss of a micro-batch, and what is told of it. */
export function objectiveOf(
  { clip, valueClip, valueCoefficient }: Pick<PpoConfig, "clip" | "valueClip" | "valueCoefficient">,
  critic: Pick<Critic, "values">,
) {
  const bounds = { low: clip, high: clip };
  return (on: OnPolicy): Objective => {
    const { policy, fed, weights, ofTokens } = on;
    const { old, advantages, returns } = fed;
    const ratio = ratios({ policy, old });
    const values = critic.values(on);
    const { loss, clipped: moved } = valueLoss({ values, old: fed.values, returns }, valueClip);
    const policyLoss = over(clipped(ratio, advantages, bounds), weights);
    const criticLoss = over(loss, weights);
    const parts = clippedParts(ratio, advantages, bounds);
    return {
      loss: add(policyLoss, scale(criticLoss, valueCoefficient)),
      told: {
        "loss/policy_avg": policyLoss,
        "loss/value_avg": criticLoss,
        "policy/approxkl_avg": scale(over(square(subtract(detach(policy), old)), ofTokens), 0.5),
        "policy/clipfrac_avg": addScalar(over(parts.low, ofTokens), over(parts.high, ofTokens)),
        "val/clipfrac_avg": over(moved, ofTokens),
        "val/ratio": over(detach(ratio), ofTokens),
      },
    };
  };
}

export const line = (config: PpoConfig) => onlineLine(config);
export const check = (config: PpoConfig, planned: Planned) => checkRewards(config, planned);

export async function build(config: PpoConfig, context: Context): Promise<Built> {
  const { recompute, activations, lora } = config;
  const parts = await onlineParts(config, context, { held: true });
  const { trained, passes, length } = parts;
  const reference = parts.reference!;
  const from = criticOf(config);
  const options = { ...passes, policy: trained, recompute, activations };
  const critic: Critic = from === null ? headCritic(options) : await modelCritic(from, lora, context, options, length);
  const average = config.average === undefined ? null : averageOf(context.device, trained, config.average);
  const beside =
    config.pretraining &&
    (await pretrainingBeside(config.pretraining, context, trained.model, { recompute, activations }));
  let { coefficient } = config.kl;
  const { lr } = settings(config).optim;
  return onlineStage(parts, {
    owned: [critic, ...(average ? [average] : [])],
    passes: config.passes,
    signal: null,
    target: config.kl.target,
    trained: [{ weights: critic.weights, name: "critic", rate: (config.criticLr ?? lr) / lr }],
    frozen: critic.frozen,
    ...(beside && { beside }),
    before: (step) => average?.before(step),
    worth,
    objective: objectiveOf(config, critic),
    weigh: (step) => () => 1 / tokensOf(step),
    state: {
      save: () => ({ coefficient }),
      load(json) {
        ({ coefficient } = json as { readonly coefficient: number });
      },
    },
    async write(directory) {
      await critic.write(directory);
      await average?.write(directory, parts.data.tokenizer);
    },
    read(directory) {
      critic.read(directory);
      average?.read(directory);
    },
    lines: [
      "in a round's first step the ratio is 1 and nothing is clipped; the divergence begins at 0",
      `the critic is ${from === null ? "a head on the policy's trunk, and expects nothing yet" : `a model of its own, from ${from}`}`,
    ],
  });

  async function worth(answers: readonly Answer[], total: readonly Score[], signal: AbortSignal) {
    const examples = answers.map(({ example }) => example);
    const references = await reference.find(examples, signal);
    const values = references && (await critic.scorer.find(examples, signal));
    if (!references || !values) return null;
    const { target, horizon = 10_000 } = config.kl;
    const scores = total.map((score, i) => scoreOf(score, answers[i]!));
    const found = ppoWorth({ answers, scores, references, values }, { ...config, coefficient });
    return {
      ...found,
      commit() {
        if (target === undefined) return;
        coefficient = adapted(coefficient, found.divergence, { target, horizon, episodes: answers.length });
      },
    };
  }

  /** The score of an answer with what it gets for having no end. */
  function scoreOf(score: Score, { ended }: Answer): Score {
    const { missingEnd } = config;
    if (score === null || ended || !missingEnd) return score;
    return missingEnd.score ?? score - missingEnd.penalty!;
  }
}
