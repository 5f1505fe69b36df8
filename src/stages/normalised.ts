/** Scores brought to mean 0 and deviation 1 over what the policy says before it is trained, as https://arxiv.org/abs/1909.08593 did it. */
import { z } from "zod";
import { shuffled } from "../data/choose";
import type { Example } from "../data/examples";
import type { Device } from "../device/device";
import { type Normalisation, raw } from "../formats/normalisation";
import { Engine } from "../generate/engine";
import { sampling } from "../generate/sampling";
import { percentages, type Reporter } from "../log/console";
import type { Model } from "../model/model";
import type { Slab } from "../model/slab";
import { answerEnds } from "../text/answer";
import type { ChatTemplate } from "../text/template";
import type { Tokenizer } from "../text/tokenizer";
import { tick } from "../tick";

export const normalise = z.strictObject({
  samples: z
    .int()
    .min(0)
    .max(65536)
    .default(256)
    .meta({ description: "answers of the policy that scores have mean 0 and deviation 1 over; 0 leaves them raw" }),
  tokens: z.int().min(1).max(65536).default(64).meta({ description: "tokens of such an answer at most" }),
});

/** Answers that are written at a time. */
const TOGETHER = 16;

export interface Sampled {
  readonly device: Device;
  /** The policy: a language model. */
  readonly model: Model;
  readonly slabs: readonly Slab[];
  readonly tokenizer: Tokenizer;
  readonly template: ChatTemplate;
  readonly console: Reporter;
  readonly name: string;
  readonly seed: number;
  /** Tokens of a prompt with its answer at most. */
  readonly length: number;
}

/** Prompts with what the policy answers at temperature 1, as tokens; each ends with its end token where the policy ended. */
export async function policySamples(
  { device, model, slabs, tokenizer, template, console, name, seed, length }: Sampled,
  examples: readonly Example[],
  { samples, tokens }: z.infer<typeof normalise>,
): Promise<Uint32Array[]> {
  if (samples === 0) return [];
  const prompts = [
    ...new Map(examples.map((example) => [promptOf(example).join(), promptOf(example)])).values(),
  ].filter((ids) => ids.length < length);
  const order = shuffled(prompts.length, seed, 103);
  const chosen = Array.from({ length: samples }, (_, i) => [...prompts[order[i % order.length]!]!]);
  const progress = percentages(console, `${name}: answers of the policy`);
  const ids = answerEnds(tokenizer, template).ids;
  const found: Uint32Array[] = [];
  using engine = new Engine(device, model, slabs);
  const options = sampling.parse({ temperature: 1, maxTokens: tokens, seed });
  const steps = engine.rolloutSteps(chosen, { ...options, together: TOGETHER, ends: (_, id) => ids.has(id) });
  for (const ended of steps) {
    await tick();
    for (const { index, ids } of ended) {
      found[index] = Uint32Array.from([...chosen[index]!, ...ids].slice(0, length));
      progress(Object.keys(found).length, samples);
    }
  }
  console.done();
  return found;
}

/** The tokens before the answer. */
export function promptOf({ ids, trained }: Example): Uint32Array {
  return ids.subarray(0, trained.indexOf(1));
}

/** Gain and bias by which these raw scores have mean 0 and deviation 1 (of n - 1). Raw where they do not differ. */
export function normalisationOf(scores: readonly number[]): Normalisation {
  const mean = scores.reduce((sum, score) => sum + score, 0) / scores.length;
  const variance = scores.reduce((sum, score) => sum + (score - mean) ** 2, 0) / (scores.length - 1);
  if (!(variance > 0)) return raw;
  const gain = 1 / Math.sqrt(variance);
  return { gain, bias: -gain * mean };
}
