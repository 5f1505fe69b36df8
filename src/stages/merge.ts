/** The weighted mean of models of one shape ("model soups", https://arxiv.org/abs/2203.05482). Works without a device. */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { UserError } from "../errors";
import { writeAside } from "../files";
import { copyModel, openModelFiles, type StoredModel } from "../formats/checkpoint";
import type { ModelConfig } from "../model/architecture";
import { loadTokenizer, type Tokenizer, writeTokenizer } from "../text/tokenizer";
import { MODEL_FOLDER } from "../train/run-folder";
import { stageName } from "../train/settings";
import type { Kind } from "./kind";

const fields = z.strictObject({
  kind: z.literal("merge").meta({ description: "the weighted mean of models of one shape" }),
  name: stageName("merge"),
  models: z.array(z.string().min(1)).min(1).meta({
    description:
      "earlier stages, runs, checkpoints, directories or Hub names; adapters are merged into their bases first",
    neutral: true,
  }),
  weights: z.array(z.number().min(-100).max(100)).optional().meta({
    description: "what each model counts, by their sum; all the same if absent",
  }),
});

export type MergeConfig = z.infer<typeof fields>;

export const schema = fields.superRefine(({ models, weights }, context) => {
  if (weights === undefined) return;
  const refuse = (message: string) => context.addIssue({ code: "custom", path: ["weights"], message });
  if (weights.length !== models.length) refuse(`there are ${weights.length} for ${models.length} models`);
  else if (Math.abs(sum(weights)) < 1e-9) refuse("they cancel each other: their sum is 0");
});

const keyOf = (i: number) => `models ${i + 1}`;

export const merge: Kind<MergeConfig> = {
  schema,
  version: 1,
  reads: ({ models }) => Object.fromEntries(models.map((name, i) => [keyOf(i), name])),
  data: () => [],
  check({ models: names }, { models }) {
    const [first, ...rest] = names.map((_, i) => models.get(keyOf(i))!);
    for (const [i, config] of rest.entries()) expectSameConfig(config, first!, [names[i + 1]!, names[0]!]);
  },
  outline: ({ models }) => ({ lines: [`the mean of ${models.join(", ")}`], trained: null }),
  async run({ name, models, weights = models.map(() => 1) }, { directory, console, locate }) {
    const total = sum(weights);
    const stored: StoredModel[] = [];
    try {
      const folders: string[] = [];
      for (const i of models.keys()) folders.push((await locate(keyOf(i)))!);
      for (const folder of folders) stored.push(await openModelFiles(folder, { storage: "f32" }));
      stored.forEach((files, i) => {
        expectSameShape(files, stored[0]!, [models[i]!, models[0]!]);
      });
      const tokenizers: Tokenizer[] = [];
      for (const folder of folders) tokenizers.push(await loadTokenizer(folder));
      const tokenizer = oneTokenizer(tokenizers, models, (line) => console.note(`${name}: ${line}`));
      const values: StoredModel["values"] = (wanted) => {
        const mean = new Float64Array(wanted.size);
        stored.forEach(({ model, values }, i) => {
          const own = model.parameters.list.find(({ name }) => name === wanted.name)!;
          for (const [at, v] of values(own).entries()) mean[at]! += (weights[i]! / total) * v;
        });
        return Float32Array.from(mean);
      };
      await writeAside(join(directory, MODEL_FOLDER), async (temporary) => {
        mkdirSync(temporary);
        await copyModel(temporary, { model: stored[0]!.model, values }, tokenizer);
        await writeTokenizer(temporary, tokenizer.files);
      });
      console.note(`${name}: the mean of ${models.join(", ")}`);
      return "finished";
    } finally {
      for (const files of stored) files[Symbol.dispose]();
    }
  },
};

/** All must read text alike; the template is that of the first that has one. */
function oneTokenizer(
  tokenizers: readonly Tokenizer[],
  names: readonly string[],
  note: (line: string) => void,
): Tokenizer {
  const text = ({ files }: Tokenizer) => JSON.stringify(files.tokenizer);
  const other = tokenizers.findIndex((tokenizer) => text(tokenizer) !== text(tokenizers[0]!));
  if (other >= 0)
    throw new UserError(`${names[0]} and ${names[other]} have different tokenizers`, {
      hint: "only models that read text alike have a mean",
    });
  const templates = tokenizers.map(({ files }) => files.config.chat_template);
  const chosen = templates.findIndex((template) => template !== undefined);
  if (new Set(templates.map((template) => JSON.stringify(template))).size > 1)
    note(`the chat template is that of ${names[chosen]}`);
  return tokenizers[Math.max(0, chosen)]!;
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

/** Heads and epsilon are in no tensor's shape, and a mean over different ones is a mean of nothing. */
function expectSameShape(
  { model }: StoredModel,
  { model: first }: StoredModel,
  names: readonly [string, string],
): void {
  const shapes = ({ parameters }: typeof model) =>
    Object.fromEntries(parameters.list.map(({ name, shape }) => [name, `[${shape}]`]));
  expectSame(otherKey(model.config, first.config) ?? otherKey(shapes(model), shapes(first)), names);
}

/** Of models that are not made yet, whose vocabulary is not known for certain. */
function expectSameConfig(own: ModelConfig, wanted: ModelConfig, names: readonly [string, string]): void {
  const sizes = ({ type, layers, heads, width, context, epsilon }: ModelConfig) => ({
    ...{ type, layers, heads, width, context, epsilon },
  });
  expectSame(otherKey(sizes(own), sizes(wanted)), names);
}

function expectSame(differs: string | null, names: readonly [string, string]): void {
  if (differs === null) return;
  throw new UserError(`${names[0]} and ${names[1]} are not of one shape: ${differs}`, {
    hint: "only models of one architecture and size have a mean",
  });
}

/** `heads is 2 and 4`, or null where all values are the same. */
function otherKey(own: object, wanted: object): string | null {
  const values = (of: object) => new Map(Object.entries(of).filter(([, value]) => value !== undefined));
  const [a, b] = [values(own), values(wanted)];
  const key = [...new Set([...a.keys(), ...b.keys()])].find((key) => a.get(key) !== b.get(key));
  return key === undefined ? null : `${key} is ${a.get(key) ?? "missing"} and ${b.get(key) ?? "missing"}`;
}
