/** The weighted mean of models of one shape ("model soups", https://arxiv.org/abs/2203.05482). Works without a device. */

import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { UserError } from "../errors";
import { writeAside } from "../files";
import { copyModel, openModelFiles, type StoredModel } from "../formats/checkpoint";
import { loadTokenizer, writeTokenizer } from "../text/tokenizer";
import { MODEL_FOLDER } from "../train/run-folder";
import { stageName } from "../train/settings";
import type { Kind } from "./kind";

export const schema = z.strictObject({
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

export type MergeConfig = z.infer<typeof schema>;

const keyOf = (i: number) => `models ${i + 1}`;

export const merge: Kind<MergeConfig> = {
  schema,
  version: 1,
  reads: ({ models }) => Object.fromEntries(models.map((name, i) => [keyOf(i), name])),
  data: () => [],
  outline: ({ models }) => ({ lines: [`the mean of ${models.join(", ")}`], trained: null }),
  async run({ name, models, weights = models.map(() => 1) }, { directory, console, locate }) {
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    if (weights.length !== models.length || !(Math.abs(total) > 1e-9))
      throw new UserError(`${name}: ${weights.length} weights that sum to ${total} for ${models.length} models`, {
        hint: "give a weight for each model, and none that cancel each other",
        exitCode: 2,
      });
    const stored: StoredModel[] = [];
    try {
      const folders: string[] = [];
      for (const i of models.keys()) folders.push((await locate(keyOf(i)))!);
      for (const folder of folders) stored.push(await openModelFiles(folder));
      stored.forEach((files, i) => {
        expectSameShape(files, stored[0]!, [models[i]!, models[0]!]);
      });
      const tokenizer = await loadTokenizer(folders[0]!);
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
        await copyModel(temporary, { model: stored[0]!.model, values }, tokenizer.endOfText);
        await writeTokenizer(temporary, tokenizer.files);
      });
      console.note(`${name}: the mean of ${models.join(", ")}`);
      return "finished";
    } finally {
      for (const files of stored) files[Symbol.dispose]();
    }
  },
};

function expectSameShape(
  { model }: StoredModel,
  { model: first }: StoredModel,
  names: readonly [string, string],
): void {
  const shapes = (parameters: typeof model.parameters) =>
    new Map(parameters.list.map(({ name, shape }) => [name, shape.join()]));
  const [own, wanted] = [shapes(model.parameters), shapes(first.parameters)];
  const differs = [...new Set([...own.keys(), ...wanted.keys()])].find((name) => own.get(name) !== wanted.get(name));
  if (differs === undefined) return;
  throw new UserError(
    `${names[0]} and ${names[1]} are not of one shape: ${differs} is [${own.get(differs) ?? "missing"}] and [${wanted.get(differs) ?? "missing"}]`,
    { hint: "only models of one architecture and size have a mean" },
  );
}
