/** The keys of a config that all stages have which learn from what their policy writes. */
import { z } from "zod";
import { UserError } from "../../errors";
import {
  evaluate,
  kept,
  type Rates,
  samples,
  stageName,
  type Training,
  training,
  tuning,
  withRate,
} from "../../train/settings";
import { rowLength, wholeLora } from "../comparing";
import type { Planned } from "../kind";
import { source } from "../model-settings";
import type { Asking } from "./prompts";
import { prompts } from "./prompts";
import { notScored, type RewardsConfig, rewardModels, rewardProblems, rewards } from "./rewarding";
import type { Sizes } from "./shapes";
import { rollout, stop } from "./writer";

export interface Own {
  /** Its name where a config gives none. */
  readonly name: string;
  /** Learning rates, of whole models and of adapters. */
  readonly rates: Rates;
  /** Defaults of a round: prompts, and answers of each. */
  readonly round: { readonly prompts: number; readonly samples: number };
  readonly temperature: number;
}

export function online({ name, rates, round, temperature }: Own) {
  const { prompts: some, samples: answers, temperature: heat } = rollout.shape;
  return {
    name: stageName(name),
    ...source,
    ...prompts,
    ...rewards,
    shuffle: z.boolean().default(true).meta({ description: "a new order of prompts in every epoch, by seed" }),
    epochs: z.number().gt(0).default(1).meta({ description: "passes over the prompts; optim.steps goes before it" }),
    rollout: rollout
      .extend({
        prompts: some.unwrap().default(round.prompts),
        samples: answers.unwrap().default(round.samples),
        temperature: heat.unwrap().default(temperature),
      })
      .prefault({}),
    stop: stop.optional().meta({ description: "a token that ends answers, beside their end token" }),
    minibatches: z
      .int()
      .min(1)
      .max(65536)
      .default(1)
      .meta({ description: "steps of a pass over a round's answers; whole groups, so it divides rollout.prompts" }),
    ...kept,
    lora: wholeLora.optional().meta({ description: "trains an adapter, and not the model" }),
    ...training,
    batch: z
      .strictObject({
        rows: z.int().min(1).max(65536).default(32).meta({ description: "answers of a micro-batch" }),
        tokens: z.int().min(2).max(65536).optional().meta({
          description:
            "tokens of a prompt with its answer at most; the smaller of 1024 and the model's context if absent",
        }),
      })
      .prefault({}),
    evaluate: evaluate.extend({ every: evaluate.shape.every.unwrap().default(50) }).prefault({}),
    samples: z
      .strictObject({
        every: samples.shape.every
          .unwrap()
          .default(25)
          .meta({ description: "steps between tables of answers; 0 for none" }),
        count: z.int().min(1).max(1000).default(4).meta({ description: "answers of a table" }),
      })
      .prefault({})
      .meta({ neutral: true }),
    optim: tuning(rates),
  };
}

export type OnlineConfig = z.infer<z.ZodObject<ReturnType<typeof online>>> & {
  /** Prompts that are asked in a round at most, as many times as are wanted; absent where none is left out. */
  readonly dynamicSampling?: number | undefined;
};

/** What `fit` goes by. Tables of answers are its samples: there is nothing else to be continued. */
export function onlineSettings(config: OnlineConfig, rates: Rates): Training {
  const { every } = config.samples;
  return withRate(
    {
      ...config,
      batch: { rows: config.batch.rows, accumulate: 1 },
      samples: { every, before: false, prompts: ["\n"], tokens: 1, temperature: 0 },
    },
    rates,
  );
}

type Problem = readonly [path: readonly PropertyKey[], message: string];

/** What is wrong with a config beyond its single keys. */
export function onlineProblems(config: OnlineConfig): Problem[] {
  const { rollout, minibatches, batch } = config;
  const problems: Problem[] = rewardProblems(config as RewardsConfig).map(([key, message]) => [[key], message]);
  if (rollout.prompts % minibatches !== 0)
    problems.push([
      ["minibatches"],
      `${minibatches} minibatches do not divide the ${rollout.prompts} prompts of a round into whole groups`,
    ]);
  if (batch.tokens !== undefined && batch.tokens <= rollout.tokens)
    problems.push([
      ["rollout", "tokens"],
      `answers of ${rollout.tokens} tokens leave no room for a prompt in ${batch.tokens} (batch.tokens)`,
    ]);
  return problems;
}

/** Groups of one answer have nothing to be compared with. */
export function groupProblems({ rollout }: OnlineConfig): Problem[] {
  return rollout.samples > 1
    ? []
    : [[["rollout", "samples"], "a group of one answer has no other to be compared with: give 2 or more"]];
}

/** Tokens of a prompt at most. Throws a UserError where answers leave none. */
export function promptLength({ name, batch, rollout }: OnlineConfig, context: number): number {
  const length = rowLength(batch.tokens, context);
  if (rollout.tokens < length) return length - rollout.tokens;
  throw new UserError(
    `${name}: answers of ${rollout.tokens} tokens leave no room for a prompt in a context of ${length}`,
    {
      hint: "use a smaller rollout.tokens",
      exitCode: 2,
    },
  );
}

/** The sizes of micro-batches over these prompts' answers. */
export function sizesOf({ batch, rollout }: OnlineConfig, { train, held }: Asking): Sizes {
  const lengths = [...train, ...held].map(({ ids }) => ids.length);
  return {
    rows: batch.rows,
    longest: lengths.reduce((a, b) => Math.max(a, b), 1) + rollout.tokens,
    shortest: lengths.reduce((a, b) => Math.min(a, b), Number.POSITIVE_INFINITY) + 1,
    tokens: rollout.tokens,
  };
}

/** What `--plan` says of its rounds. */
export function onlineLine({ rollout, optim, epochs, rewards, data }: OnlineConfig): string {
  const { prompts, samples, tokens } = rollout;
  const many = optim.steps === undefined ? `${epochs} epochs` : `${optim.steps} steps`;
  return `${many} in rounds of ${prompts} prompts x ${samples} answers of ${tokens} tokens at most, rewards by ${rewards.join(", ")}, on ${[data].flat().join(", ")}`;
}

/** Refuses what can be seen beforehand of the models that are to give rewards. */
export function checkRewards({ name, rewards }: OnlineConfig, { models }: Planned): void {
  for (const [key, given] of Object.entries(rewardModels({ rewards }))) {
    if (models.get(key)?.scalar) continue;
    throw notScored(given, `stage ${name}: `);
  }
}
