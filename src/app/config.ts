/** What a pipeline's config may say. */
import { z } from "zod";
import { stageSchema } from "../stages";
import { newModel } from "../stages/model-settings";
import { problemsOf, resultOf } from "./graph";

export const modelSchema = newModel.extend({
  from: z.string().min(1).optional().meta({
    description:
      "a model to go on from, with its tokenizer: a run, a checkpoint, a directory, or a Hub name such as gpt2",
  }),
});

export const tokenizerSchema = z.discriminatedUnion("kind", [
  z.strictObject({
    kind: z.literal("bpe").meta({ description: "byte-level BPE trained on the first stage's text" }),
    size: z.int().min(257).max(1_000_000).default(4096).meta({ description: "tokens of the vocabulary" }),
  }),
  z.strictObject({
    kind: z.literal("word").meta({ description: "the most frequent words of the first stage's text, cleaned" }),
    size: z.int().min(3).max(1_000_000).default(8192).meta({ description: "tokens of the vocabulary" }),
  }),
  z.strictObject({
    kind: z.literal("character").meta({ description: "one token a character of the first stage's text" }),
    alphabet: z.string().min(1).optional().meta({ description: "these characters, and no text is needed" }),
  }),
  z.strictObject({
    kind: z.literal("file").meta({ description: "an existing tokenizer" }),
    path: z.string().meta({ description: "a folder with tokenizer.json" }),
  }),
]);

export const configSchema = z
  .strictObject({
    name: z
      .string()
      .regex(/^(?!\.+$)[\w.-]{1,200}$/)
      .default("run")
      .meta({ description: "the run's folder under runs/" }),
    seed: z
      .int()
      .min(0)
      .max(0xffff_ffff)
      .default(1337)
      .meta({ description: "every random choice is a function of it" }),
    model: modelSchema.prefault({}),
    tokenizer: tokenizerSchema.prefault({ kind: "bpe" }),
    stage: z.array(stageSchema).min(1).meta({ description: "what to do, in order" }),
    result: z.string().min(1).optional().meta({
      description:
        "the stage that the run stands for where it is taken as a model; the last one that makes a model if absent",
    }),
    seconds: z.record(z.string(), z.number().gt(0)).default({}).meta({
      description: "what each stage took elsewhere: the time left of the whole is told by it",
      neutral: true,
    }),
    generate: z
      .strictObject({
        prompts: z.array(z.string().min(1)).min(1).meta({ description: "continued once all stages are done" }),
        tokens: z.int().min(1).default(120).meta({ description: "tokens of each" }),
        temperature: z.number().min(0).max(100).default(0.8).meta({ description: "0 takes the likeliest token" }),
      })
      .optional(),
  })
  .superRefine((config, context) => {
    const refuse = (path: readonly PropertyKey[], message: string) =>
      context.addIssue({ code: "custom", path: [...path], message });
    for (const { path, message } of problemsOf(config)) refuse(path, message);
    const names = config.stage.map(({ name }) => name);
    for (const name of Object.keys(config.seconds))
      if (!names.includes(name)) refuse(["seconds", name], `there is no stage ${name}; there are ${names.join(", ")}`);
    if (config.generate && resultOf(config) === undefined)
      refuse(["generate"], "no stage makes a model that could write");
  });

export type Config = z.infer<typeof configSchema>;

/** Where a config's run is kept, if no other place is given. */
export function runFolder({ name }: Pick<Config, "name">): string {
  return `runs/${name}`;
}
