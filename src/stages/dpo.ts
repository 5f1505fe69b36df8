/**
 * Direct preference optimisation (https://arxiv.org/abs/2305.18290) and the losses that came after it: a policy learns which of two
 * answers is better, held to a reference. Names, defaults and metrics follow TRL's DPOTrainer
 * (https://huggingface.co/docs/trl/dpo_trainer).
 */
import { z } from "zod";
import { interpret } from "../autograd/interpret";
import type { PairExample } from "../data/pairs";
import {
  type Divergence,
  divergences,
  type PairLossName,
  type PairOptions,
  pairLoss,
  pairLosses,
  type Side,
} from "../model/pair-losses";
import { add } from "../ops/add";
import { above, exp, multiply, scale, subtract } from "../ops/elementwise";
import { fill } from "../ops/fill";
import { slice } from "../ops/parts";
import { sizeOf } from "../tensor/shape";
import { detach, type Tensor } from "../tensor/tensor";
import { type Training, withRate } from "../train/settings";
import { comparing, rowLength } from "./comparing";
import type { Built, Context } from "./context";
import { type PairData, pairStage } from "./pair-stage";
import type { Compared, Objective, Prepared } from "./pairs";
import { readPairs } from "./preferences";
import { openReference, reference } from "./reference";
import { sync, synced } from "./synced";

const rates = [1e-6, 5e-6] as const;

type Mixture = readonly (readonly [name: PairLossName, weight: number])[];

/** Mixtures that have a name. MPO's: https://arxiv.org/abs/2411.10442, section 4.1. */
const mixtures = {
  "sigmoid+sft": [
    ["sigmoid", 1],
    ["sft", 1],
  ],
  mpo: [
    ["sigmoid", 0.8],
    ["bco_pair", 0.2],
    ["sft", 1],
  ],
} as const satisfies Readonly<Record<string, Mixture>>;

export const lossNames = Object.keys(pairLosses) as [PairLossName, ...PairLossName[]];
export const mixtureNames = Object.keys(mixtures) as [keyof typeof mixtures];

export const schema = z
  .strictObject({
    kind: z.literal("dpo").meta({ description: "pairs of answers, by DPO and the losses that came after it" }),
    ...comparing({ name: "dpo", rows: "pairs of a micro-batch: each has two rows", rates, epochs: 1 }),
    ...reference,
    loss: z
      .union([z.enum([...lossNames, ...mixtureNames]), z.array(z.enum(lossNames)).min(1)])
      .default("sigmoid")
      .meta({ description: "a loss, several that are added up, or one of the mixtures sigmoid+sft and mpo" }),
    weights: z
      .array(z.number().min(0).max(1000))
      .optional()
      .meta({ description: "with several losses: what each is multiplied with; 1 if absent" }),
    beta: z
      .number()
      .gt(0)
      .max(1000)
      .optional()
      .meta({ description: "how strongly the policy is held to the reference; 0.1 if absent" }),
    labelSmoothing: z
      .number()
      .min(0)
      .lt(0.5)
      .optional()
      .meta({ description: "the share of pairs whose sides are taken to be the other way round; 0 if absent" }),
    divergence: z
      .enum(Object.keys(divergences) as [Divergence, ...Divergence[]])
      .default("reverse_kl")
      .meta({ description: "what holds the policy to the reference (arXiv 2309.16240)" }),
    alpha: z.number().min(0).max(10).optional().meta({ description: "of alpha_divergence; 0.5 if absent" }),
    tau: z.number().gt(0).max(100).optional().meta({ description: "of discopop; 0.05 if absent" }),
    ldAlpha: z.number().min(0).max(1).optional().meta({
      description:
        "what tokens beyond the length of the shorter answer count for (LD-DPO, arXiv 2409.06411); 1 if absent",
    }),
    wpo: z.boolean().default(false).meta({
      description: "weights pairs by how near they are to what the policy itself would say (arXiv 2406.11827)",
    }),
    sync: sync.optional().meta({ description: "moves the reference towards the policy (TR-DPO, arXiv 2404.09656)" }),
  })
  .superRefine((config, context) => {
    for (const [path, message] of problemsOf(config)) context.addIssue({ code: "custom", path: [path], message });
  });

export type DpoConfig = z.infer<typeof schema>;

/** Options that would count for nothing, or do not go together. */
function problemsOf(config: DpoConfig): [string, string][] {
  const { loss, weights, divergence, sync } = config;
  const names = mixtureOf(config).map(([name]) => name);
  const all = names.join(", ");
  const some = (test: (name: PairLossName) => boolean) => names.some(test);
  const problems: [string, string][] = [];
  const unused = (key: "beta" | "labelSmoothing" | "alpha" | "tau", used: boolean) => {
    if (config[key] !== undefined && !used) problems.push([key, `is not used by ${all}: leave it out`]);
  };
  unused(
    "beta",
    some((name) => name !== "sft"),
  );
  unused(
    "labelSmoothing",
    some((name) => pairLosses[name].smoothing !== "none"),
  );
  unused(
    "tau",
    some((name) => name === "discopop"),
  );
  if (config.alpha !== undefined && divergence !== "alpha_divergence")
    problems.push(["alpha", `is not used by ${divergence}: leave it out, or choose alpha_divergence`]);
  if (config.alpha === 1) problems.push(["alpha", "at 1 it is reverse_kl: choose that"]);
  const raw = names.find((name) => !pairLosses[name].divergent);
  if (divergence !== "reverse_kl" && (raw ?? !some((name) => name !== "sft")))
    problems.push(["divergence", `${raw ?? "sft"} goes with reverse_kl alone`]);
  if (some((name) => pairLosses[name].smoothing === "needed") && !config.labelSmoothing)
    problems.push(["labelSmoothing", "exo_pair needs one above 0, such as 0.001"]);
  if (weights && !Array.isArray(loss))
    problems.push(["weights", `${loss} has none to be given: they go with several losses`]);
  else if (weights && weights.length !== names.length)
    problems.push(["weights", `there are ${weights.length} for ${names.length} losses`]);
  if (new Set(names).size < names.length) problems.push(["loss", "names a loss twice: give it a weight"]);
  if (config.wpo && some((name) => name === "aot" || name === "aot_unpaired"))
    problems.push(["wpo", "a sorted batch has no pairs that could be weighted: it does not go with aot"]);
  if (sync && config.precompute)
    problems.push(["sync", "a reference that moves cannot be computed before: set precompute = false"]);
  if (sync && config.lora)
    problems.push(["sync", "with lora the reference is the base, which stays: leave one of them out"]);
  if (!some((name) => name !== "sft") && (config.reference !== undefined || sync))
    problems.push([sync ? "sync" : "reference", "sft is held to no reference: leave it out"]);
  return problems;
}

function mixtureOf({ loss, weights }: Pick<DpoConfig, "loss" | "weights">): Mixture {
  if (Array.isArray(loss)) return loss.map((name, i) => [name, weights?.[i] ?? 1]);
  return loss in mixtures ? mixtures[loss as keyof typeof mixtures] : [[loss as PairLossName, 1]];
}

export const settings = (config: DpoConfig): Training => withRate(config, rates);

export const rowsOf = ({ batch }: DpoConfig) => 2 * batch.rows;

export const reads = ({ reference }: DpoConfig) => ({ reference });

export async function build(config: DpoConfig, context: Context): Promise<Built> {
  const length = rowLength(config.batch.tokens, context.model.config.context);
  const data = await readPairs(config, context, length, { overlong: "cut" });
  return stageOf(config, context, data, length);
}

/** Of pairs that were read. */
export async function stageOf(config: DpoConfig, context: Context, data: PairData, length: number): Promise<Built> {
  const { device } = context;
  const held = await openReference(config, context, { rows: 2 * config.batch.rows, length });
  const { sync, ldAlpha } = config;
  return pairStage(config, context, {
    data,
    length,
    method: {
      objective: objectiveOf(config),
      reference: held,
      ...(ldAlpha !== undefined && { weigh: (pair) => lengthWeights(pair, ldAlpha) }),
      lines: linesOf(config),
      expected: config.reference === undefined ? expectedLoss(config) : null,
      told: (means) => ({
        "rewards/accuracies": means["rewards/accuracies"]!,
        "rewards/margins": means["rewards/margins"]!,
        "logps/chosen": means["logps/chosen"]!,
        drift: drift(means, optionsOf(config).beta),
      }),
      ...(sync && {
        more: ({ weights }) => synced(device, { ...sync, policy: weights, reference: held.live!.weights }),
      }),
    },
  });
}

/** What may surprise of a loss. */
function linesOf(config: DpoConfig): string[] {
  const names = mixtureOf(config).map(([name]) => name);
  const { rows, accumulate } = config.batch;
  return [
    ...(names.some((name) => name === "aot" || name === "aot_unpaired")
      ? [
          `aot sorts within a micro-batch of ${rows} pairs${accumulate > 1 ? `, and not over the ${accumulate} of a step` : ""}`,
        ]
      : []),
    ...(names.includes("discopop")
      ? ["discopop's slope where policy and reference are one has the wrong sign: at first the margins may fall"]
      : []),
    ...(names.includes("apo_down") ? ["apo_down makes chosen answers less likely too, by its design"] : []),
  ];
}

function optionsOf({ beta = 0.1, labelSmoothing = 0, divergence, alpha = 0.5, tau = 0.05 }: DpoConfig): PairOptions {
  return { beta, labelSmoothing, divergence, alpha, tau };
}

/** The losses added up, each pair's weighted where that is asked for. */
export function objectiveOf(config: DpoConfig): Objective {
  const options = optionsOf(config);
  return (pairs) => {
    const losses = mixtureOf(config).map(([name, weight]) => scale(pairLoss(name, pairs, options), weight));
    const loss = losses.reduce(add);
    const reward = ({ logProbs, reference }: Side) => scale(detach(subtract(logProbs, reference)), options.beta);
    const [chosen, rejected] = [reward(pairs.chosen), reward(pairs.rejected)];
    return {
      loss: config.wpo ? multiply(loss, nearness(pairs)) : loss,
      told: {
        "rewards/chosen": chosen,
        "rewards/rejected": rejected,
        "rewards/accuracies": above(chosen, rejected),
        "rewards/margins": subtract(chosen, rejected),
      },
    };
  };
}

/** How far the log-probability of chosen answers has moved from the reference's, as a share of it: below 0 they have become less likely. */
function drift(means: Readonly<Record<string, number>>, beta: number): number {
  const moved = means["rewards/chosen"]! / beta;
  return moved / Math.abs(means["logps/chosen"]! - moved);
}

/** WPO's weight of each pair: equation 2 of https://arxiv.org/abs/2406.11827, the product of both sides'. */
function nearness({ ownness, weights }: Compared): Tensor {
  const both = exp(ownness());
  const count = sizeOf(weights.shape);
  return multiply(slice(both, { count }), slice(both, { first: count, count }));
}

/** Tokens beyond the shorter answer's length count for less. */
function lengthWeights({ chosen, rejected }: PairExample, alpha: number): NonNullable<Prepared["weights"]> {
  const shared = Math.min(chosen.targets, rejected.targets);
  const of = (count: number) => new Float32Array(count).fill(1, 0, shared).fill(alpha, shared);
  return { chosen: of(chosen.targets), rejected: of(rejected.targets) };
}

/** The loss where policy and reference are one: null where that depends on the model. */
export function expectedLoss(config: DpoConfig): number | null {
  const mixture = mixtureOf(config);
  if (config.wpo || mixture.some(([name]) => name === "sft")) return null;
  const one = fill([1], 1);
  const zero = fill([1], 0);
  const side = { logProbs: zero, reference: zero, lengths: one };
  const pairs = { chosen: side, rejected: side, weights: one, meanLength: one };
  const losses = mixture.map(([name, weight]) => scale(pairLoss(name, pairs, optionsOf(config)), weight));
  return interpret([losses.reduce(add)], new Map())[0]![0]!;
}
