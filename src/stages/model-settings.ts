/** The keys of a config that say how large a new model is. */
import { z } from "zod";
import { checkHeads, LEAST_EPSILON, MOST_LAYERS, MOST_WIDTH, type ModelConfig } from "../model/architecture";
import { presets } from "../model/architectures";

const size = (description: string, most: number) => z.int().min(1).max(most).optional().meta({ description });

export const newModel = z.strictObject({
  preset: z
    .enum(Object.keys(presets) as [string, ...string[]])
    .default("micro")
    .meta({ description: "a named size; the numbers below override it" }),
  layers: size("transformer blocks", MOST_LAYERS),
  heads: size("attention heads", 1024),
  width: size("channels of the residual stream; a multiple of 4 times the heads", MOST_WIDTH),
  context: z
    .int()
    .min(2)
    .max(1 << 20)
    .optional()
    .meta({ description: "the longest sequence in tokens" }),
  epsilon: z.number().min(LEAST_EPSILON).max(1).default(1e-5).meta({ description: "layer norm's epsilon" }),
});

export type NewModel = z.infer<typeof newModel>;

/** The preset's numbers, overridden by those given. `where` they stand is told where they do not go together. */
export function modelConfig({ preset, epsilon, ...given }: NewModel, vocabulary: number, where = "model"): ModelConfig {
  const base = presets[preset]!;
  const config = {
    type: base.type,
    vocabulary,
    epsilon,
    layers: given.layers ?? base.layers,
    heads: given.heads ?? base.heads,
    width: given.width ?? base.width,
    context: given.context ?? base.context,
  };
  checkHeads(config, where);
  return config;
}

/** Holds nothing out. A file of that name is `./none`. */
export const NO_VALIDATION = "none";

/** What a stage that needs a model goes on from. */
export const source = {
  from: z.string().min(1).optional().meta({
    description:
      "the model that it goes on from: an earlier stage, a run, a checkpoint, a directory, a Hub name, or new; the stage before it if absent",
    neutral: true,
  }),
  model: newModel.optional().meta({ description: "with from = new: the sizes of this stage's own model" }),
};
