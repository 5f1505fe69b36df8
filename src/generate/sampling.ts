/** How the next token is chosen: the options, and their bounds in one place. */
import { z } from "zod";

export const sampling = z.strictObject({
  temperature: z
    .number()
    .min(0)
    .max(100)
    .default(0.8)
    .meta({ description: "0, and all below 1e-6, takes the likeliest token; higher is more random" }),
  topK: z.int().min(0).default(0).meta({ description: "keep the K likeliest tokens; 0 keeps all" }),
  topP: z
    .number()
    .gt(0)
    .max(1)
    .default(1)
    .meta({ description: "keep the likeliest tokens whose probabilities reach this sum" }),
  minP: z
    .number()
    .min(0)
    .max(1)
    .default(0)
    .meta({ description: "keep tokens at least this likely, relative to the likeliest" }),
  repetitionPenalty: z
    .number()
    .min(0.01)
    .max(100)
    .default(1)
    .meta({ description: "makes tokens that have occurred less likely; 1 is off" }),
  presencePenalty: z
    .number()
    .min(-100)
    .max(100)
    .default(0)
    .meta({ description: "taken off the logit of every token that was written already" }),
  frequencyPenalty: z
    .number()
    .min(-100)
    .max(100)
    .default(0)
    .meta({ description: "taken off the logit of a token for each time that it was written" }),
  seed: z
    .int()
    .min(0)
    .max(0xffff_ffff)
    .default(1337)
    .meta({ description: "the same seed and prompt give the same text" }),
  maxTokens: z.int().min(1).default(100).meta({ description: "how many tokens to write at most" }),
});

export type Sampling = z.infer<typeof sampling>;
