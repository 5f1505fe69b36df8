/** The parts of a config that every training stage shares: each field with its type, bounds, default and sentence. */
import { z } from "zod";
import { type Storage, storages } from "../model/parameters";
import { type RuleName, rules } from "../optim/optimizer";

export const batch = z.strictObject({
  rows: z.int().min(1).max(65536).default(8).meta({ description: "sequences of a micro-batch" }),
  tokens: z
    .int()
    .min(2)
    .max(65536)
    .default(128)
    .meta({ description: "tokens of a sequence; at most the model's context" }),
  accumulate: z
    .int()
    .min(1)
    .max(65536)
    .default(1)
    .meta({ description: "micro-batches whose gradients are added up for one step" }),
});

export const steps = z
  .int()
  .min(1)
  .max(2 ** 31)
  .meta({ description: "optimizer steps in all" });

export const optim = z.strictObject({
  kind: z
    .enum(Object.keys(rules) as [RuleName, ...RuleName[]])
    .default("adamw")
    .meta({
      description:
        "adamw; lion, with a third to a tenth of its rate, beta2 0.99 and more decay; muon: the linear layers' matrices by orthogonalised momentum at AdamW's rate, all else by AdamW",
    }),
  lr: z.number().gt(0).max(10).default(6e-4).meta({ description: "peak learning rate" }),
  schedule: z
    .enum(["cosine", "linear", "constant", "wsd"])
    .default("cosine")
    .meta({ description: "how the rate falls after the warm-up; wsd: warm-up, stable, decay" }),
  warmup: z
    .number()
    .min(0)
    .refine((value) => value < 1 || Number.isInteger(value), "expected whole steps, or a share below 1")
    .default(0)
    .meta({ description: "steps of linear warm-up, or below 1 the share of the steps" }),
  floor: z.number().min(0).max(1).default(0.1).meta({ description: "what the rate ends at, as a share of the peak" }),
  decay: z
    .number()
    .min(0)
    .max(1)
    .default(0.2)
    .meta({ description: "wsd only: the share of the steps over which the rate falls" }),
  beta1: z.number().min(0).lt(1).default(0.9).meta({ description: "AdamW's first-moment decay" }),
  beta2: z.number().min(0).lt(1).default(0.95).meta({ description: "AdamW's second-moment decay" }),
  epsilon: z.number().gt(0).default(1e-8).meta({ description: "AdamW's epsilon" }),
  weightDecay: z.number().min(0).max(10).default(0.1).meta({ description: "decoupled weight decay, on matrices only" }),
  momentum: z.number().min(0).lt(1).default(0.95).meta({ description: "muon's" }),
  tensorflowEpsilon: z.boolean().default(false).meta({
    description:
      "adds epsilon before the second moment is corrected, as TensorFlow does: far more of it in early steps",
  }),
  clip: z.number().min(0).default(1).meta({ description: "largest global norm of the gradients; 0 does not clip" }),
});

/** Learning rates, of whole models and of adapters. */
export type Rates = readonly [whole: number, adapter: number];

/** The optimizer of stages that go on from a model with examples: TRL's defaults, and a rate by what is trained. */
export const tuning = ([whole, adapter]: Rates) =>
  optim
    .extend({
      steps: steps.optional(),
      lr: z
        .number()
        .gt(0)
        .max(10)
        .optional()
        .meta({
          description: `peak learning rate; ${whole.toExponential()} if absent, with lora ${adapter.toExponential()}`,
        }),
      schedule: optim.shape.schedule.unwrap().default("linear"),
      floor: optim.shape.floor.unwrap().default(0),
      beta2: optim.shape.beta2.unwrap().default(0.999),
      weightDecay: optim.shape.weightDecay.unwrap().default(0),
    })
    .prefault({});

interface Tuned {
  readonly lora?: unknown;
  readonly optim: z.infer<ReturnType<typeof tuning>>;
}

/** The settings with the rate that belongs to what is trained. */
export function withRate<C extends Tuned & Omit<Training, "optim">>(config: C, [whole, adapter]: Rates): Training {
  return { ...config, optim: { ...config.optim, lr: config.optim.lr ?? (config.lora ? adapter : whole) } };
}

export const lora = z.strictObject({
  rank: z.int().min(1).max(4096).default(16).meta({ description: "columns of the two narrow matrices" }),
  alpha: z.number().gt(0).max(1e6).default(32).meta({ description: "what they add is multiplied by alpha / rank" }),
  dropout: z
    .number()
    .min(0)
    .lt(1)
    .default(0.05)
    .meta({ description: "share of a layer's inputs that the adapter does not see in training" }),
  targets: z.array(z.string().min(1)).min(1).default(["attn.c_attn"]).meta({
    description:
      "layers: ends of names (attn.c_attn, attn.c_proj, mlp.c_fc, mlp.c_proj, head), with * for any part (h.1*.mlp.*), or all-linear",
  }),
  rslora: z.boolean().default(false).meta({ description: "alpha / sqrt(rank) instead of alpha / rank" }),
  dora: z.boolean().default(false).meta({ description: "learns the length of each column besides (DoRA)" }),
  base: z.enum(storages).default("f32").meta({
    description:
      "how the frozen base is held: nf4 (QLoRA, 4.1 bits a weight), int8, int4, bf16, f16 or f32; one that is quantised already, as it is",
  }),
});

export type LoraConfig = z.infer<typeof lora>;

/** How the base is held; undefined: as its files have it, which is f32 where they are not quantised. */
export function heldIn({ base }: LoraConfig): Storage | undefined {
  return base === "f32" ? undefined : base;
}

export const dropout = z
  .number()
  .min(0)
  .lt(1)
  .default(0)
  .meta({ description: "share of activations dropped in training" });

/** How activations are kept for the backward pass. */
export const kept = {
  recompute: z
    .boolean()
    .default(false)
    .meta({ description: "keep no activations inside blocks: less memory, a third more work" }),
  activations: z.enum(["f32", "bf16"]).default("f32").meta({
    description:
      "how activations are kept for the backward pass; bf16 takes a third less memory; with recompute none are kept",
  }),
};

export const stageName = (name: string) =>
  z
    .string()
    .regex(/^[\w-]{1,100}$/)
    .default(name)
    .meta({ description: "the stage's folder in the run", neutral: true });

export const evaluate = z.strictObject({
  every: z.int().min(1).default(250).meta({ description: "steps between evaluations" }),
  batches: z
    .int()
    .min(1)
    .default(20)
    .meta({ description: "micro-batches of an evaluation, spread evenly over the validation text" }),
  patience: z
    .int()
    .min(0)
    .default(0)
    .meta({ description: "evaluations without a better loss after which training stops; 0 never stops" }),
});

export const save = z.strictObject({
  every: z.int().min(1).default(500).meta({ description: "steps between checkpoints" }),
  keep: z
    .int()
    .min(1)
    .default(2)
    .meta({ description: "latest checkpoints that are kept; the best one is kept besides" }),
});

export const samples = z.strictObject({
  every: z.int().min(0).default(0).meta({ description: "steps between samples; 0 for none" }),
  before: z.boolean().default(false).meta({ description: "samples before the first step too" }),
  prompts: z.array(z.string().min(1)).min(1).default(["\n"]).meta({ description: "what to continue" }),
  tokens: z.int().min(1).default(60).meta({ description: "tokens of a sample" }),
  temperature: z.number().min(0).max(100).default(0.8).meta({ description: "0 takes the likeliest token" }),
});

/** The prompts that are ever continued. */
export function samplePrompts({ every, before, prompts }: z.infer<typeof samples>): readonly string[] {
  return every > 0 || before ? prompts : [];
}

/** Keys that are `neutral` change no result, or what they name counts by itself: a stage is not run again for them. */
export const training = {
  batch: batch.prefault({}),
  optim: optim.prefault({}),
  evaluate: evaluate.prefault({}),
  save: save.prefault({}).meta({ neutral: true }),
  samples: samples.prefault({}).meta({ neutral: true }),
  logEvery: z.int().min(1).default(10).meta({ description: "steps between log lines", neutral: true }),
};

type Shared = { readonly [K in keyof typeof training]: z.infer<(typeof training)[K]> };

/** What `fit` goes by. */
export interface Training extends Omit<Shared, "batch"> {
  readonly batch: Omit<Shared["batch"], "tokens">;
}
