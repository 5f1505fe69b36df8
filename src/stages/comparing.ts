/** The keys of a config that all stages have which learn from answers that are compared or judged. */
import { z } from "zod";
import { UserError } from "../errors";
import { batch, kept, lora, optim, stageName, steps, type Training, training } from "../train/settings";
import { source } from "./model-settings";
import { preferences } from "./preferences";

/** Nothing is dropped: the policy at step 0 is the reference, and a score is the same each time. */
const wholeLora = lora.extend({
  dropout: z.literal(0).default(0).meta({ description: "nothing is dropped here" }),
});

export interface Own {
  /** Its name where a config gives none. */
  readonly name: string;
  /** What `batch.rows` counts. */
  readonly rows: string;
  /** Learning rates, of whole models and of adapters. */
  readonly rates: readonly [whole: number, adapter: number];
  readonly epochs: number;
}

export function comparing({ name, rows, rates: [whole, adapter], epochs }: Own) {
  return {
    name: stageName(name),
    ...source,
    ...preferences,
    shuffle: z.boolean().default(true).meta({ description: "a new order in every epoch, by seed" }),
    epochs: z.number().gt(0).default(epochs).meta({ description: "passes over the data; optim.steps goes before it" }),
    ...kept,
    lora: wholeLora.optional().meta({ description: "trains an adapter, and not the model" }),
    ...training,
    batch: batch
      .extend({
        rows: batch.shape.rows.unwrap().default(8).meta({ description: rows }),
        tokens: batch.shape.tokens.unwrap().optional().meta({
          description:
            "tokens of a prompt with its answer at most; the smaller of 1024 and the model's context if absent",
        }),
      })
      .prefault({}),
    optim: optim
      .extend({
        steps: steps.optional(),
        lr: z
          .number()
          .gt(0)
          .max(10)
          .optional()
          .meta({ description: `peak learning rate; ${whole} if absent, with lora ${adapter}` }),
        schedule: optim.shape.schedule.unwrap().default("linear"),
        floor: optim.shape.floor.unwrap().default(0),
        beta2: optim.shape.beta2.unwrap().default(0.999),
        weightDecay: optim.shape.weightDecay.unwrap().default(0),
      })
      .prefault({}),
  };
}

interface WithRate {
  readonly lora?: unknown;
  readonly optim: { readonly lr?: number | undefined };
}

/** The settings with the rate that belongs to what is trained. */
export function withRate<C extends WithRate & Omit<Training, "optim">>(
  config: C,
  [whole, adapter]: Own["rates"],
): Training {
  const optim = config.optim as Training["optim"];
  return { ...config, optim: { ...optim, lr: optim.lr ?? (config.lora ? adapter : whole) } };
}

/** Tokens of a row: what was given, or what the model has room for. */
export function rowLength(tokens: number | undefined, context: number): number {
  const length = tokens ?? Math.min(1024, context);
  if (length <= context) return length;
  throw new UserError(`batch.tokens is ${length}, and the model's context is ${context}`, {
    hint: "use fewer tokens a row or a model with a longer context",
    exitCode: 2,
  });
}
