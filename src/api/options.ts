/** What may be asked, and what is answered: the options' schemas, from which their types come. */
import { z } from "zod";
import { type CompleteOptions, type Ending, MOST_BIAS } from "../app/complete";
import { checkedToml } from "../app/toml";
import { answering } from "../chat/talk";
import { vectorChoices } from "../device/open";
import { sampling } from "../generate/sampling";
import type { Reporter } from "../log/console";
import { storages } from "../model/parameters";

const signal = z.instanceof(AbortSignal).optional();
const special = z.boolean().default(false);
const batch = z.int().min(1).max(4096).default(8);

function callback<A extends readonly unknown[]>() {
  return z.custom<(...args: A) => void>((given) => typeof given === "function", "expected a function").optional();
}

const device = {
  device: z.string().default("auto"),
  threads: z.int().min(1).optional(),
  vectors: z.enum(vectorChoices).optional(),
  onNote: callback<[line: string]>(),
};

export const openSchema = z.strictObject({
  ...device,
  storage: z.enum(["auto", ...storages]).default("auto"),
  adapters: z.array(z.string()).default([]),
  baseOnly: z.boolean().default(false),
});
export type OpenOptions = z.input<typeof openSchema>;

const ids = z.array(z.int().min(0));

const endings = {
  stop: z.union([z.string(), z.array(z.string())]).default([]),
  stopIds: ids.default([]),
  logitBias: z.record(z.string().regex(/^\d+$/), z.number().min(-MOST_BIAS).max(MOST_BIAS)).default({}),
};

export const generateSchema = sampling.extend({ ...endings, logProbs: z.boolean().default(false), special, signal });
export type GenerateOptions = z.input<typeof generateSchema>;

export const manySchema = generateSchema.extend({ samples: z.int().min(1).default(1), batch });
export type GenerateManyOptions = z.input<typeof manySchema>;

export const nextSchema = z.strictObject({ top: z.int().min(1).default(10), special, signal });
export type NextOptions = z.input<typeof nextSchema>;

export const textSchema = z.strictObject({
  context: z.int().min(1).optional(),
  stride: z.int().min(1).optional(),
  special,
  signal,
});
export type TextOptions = z.input<typeof textSchema>;

export const pairsSchema = z.strictObject({ batch, signal });
export type PairsOptions = z.input<typeof pairsSchema>;

export const scoreSchema = z.strictObject({
  template: z.string().default("auto"),
  raw: z.boolean().default(false),
  batch: batch.unwrap().default(16),
  signal,
});
export type ScoreOptions = z.input<typeof scoreSchema>;

const message = z.strictObject({ role: z.enum(["user", "assistant"]), content: z.string() });

const { temperature, topK, topP, maxTokens } = sampling.shape;
export const chatSchema = sampling.extend({
  ...endings,
  temperature: temperature.unwrap().default(answering.temperature),
  topK: topK.unwrap().default(answering.topK),
  topP: topP.unwrap().default(answering.topP),
  maxTokens: maxTokens.unwrap().default(answering.maxTokens),
  system: z.string().default(""),
  messages: z.array(message).default([]),
  template: z.string().default("auto"),
});
export type ChatOptions = z.input<typeof chatSchema>;

export const askSchema = z.strictObject({ signal });
export type AskOptions = z.input<typeof askSchema>;

export const trainSchema = z
  .strictObject({
    ...device,
    out: z.string().min(1).optional(),
    from: z.string().optional(),
    only: z.array(z.string()).optional(),
    fresh: z.boolean().default(false),
    keepGoing: z.boolean().default(false),
    signal,
    onStep: callback<[step: TrainStep]>(),
    onEvaluation: callback<[evaluation: Evaluation]>(),
    onText: callback<[text: string]>(),
  })
  .refine(({ from, only }) => from === undefined || only === undefined, "from and only exclude each other");
export type TrainOptions = z.input<typeof trainSchema>;

/** A stage's numbers after `step` of its `steps`, by the names that metrics.jsonl has: loss, learning_rate. */
export interface TrainStep {
  readonly stage: string;
  readonly step: number;
  readonly steps: number;
  readonly metrics: Readonly<Record<string, number>>;
}

/** The same of held-out data; `best`: no evaluation of the stage was better. */
export interface Evaluation extends TrainStep {
  readonly best: boolean;
}

/** What was written, why it ended, and how many tokens that took. `logProbs` where they were asked for. */
export interface Completion extends Ending {
  readonly text: string;
}

/** A text, or its tokens. */
export type Prompt = string | readonly number[];

/** Options as they were meant. Throws a UserError that says which is wrong. */
export function checked<T>(schema: z.ZodType<T>, given: unknown): T {
  return checkedToml(schema, given, { hint: "docs/api.md lists the options" });
}

/** How what is written ends, and which tokens are likelier. */
export function endingOf({ stop, stopIds, logitBias }: z.infer<z.ZodObject<typeof endings>>) {
  return {
    stop: [stop].flat(),
    stopIds,
    logitBias: new Map(Object.entries(logitBias).map(([id, bias]) => [Number(id), bias] as const)),
  } satisfies Partial<CompleteOptions>;
}

/** Nothing is printed: lines go to who asked for them. */
export function reporter(onNote: (line: string) => void = () => {}): Reporter {
  return { colour: false, note: onNote, status() {}, done() {} };
}
