/** The keys of a config that all stages have which learn from answers that are compared or judged. */
import { z } from "zod";
import { UserError } from "../errors";
import { batch, kept, lora, type Rates, stageName, training, tuning } from "../train/settings";
import { source } from "./model-settings";
import { preferences } from "./preferences";

/** Nothing is dropped: the policy at step 0 is the reference, and a score is the same each time. */
export const wholeLora = lora.extend({
  dropout: z.literal(0).default(0).meta({ description: "nothing is dropped here" }),
});

export interface Own {
  /** Its name where a config gives none. */
  readonly name: string;
  /** What `batch.rows` counts. */
  readonly rows: string;
  /** Learning rates, of whole models and of adapters. */
  readonly rates: Rates;
  readonly epochs: number;
}

export function comparing({ name, rows, rates, epochs }: Own) {
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
    optim: tuning(rates),
  };
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
