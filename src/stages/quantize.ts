/** Quantisation of a trained model's weights: what runs it is smaller and, where memory is what it waits for, faster. */
import { join } from "node:path";
import { z } from "zod";
import { templateFile } from "../data/template-for";
import { UserError } from "../errors";
import { writeAside } from "../files";
import type { ModelConfig } from "../model/architecture";
import { quantisations } from "../model/quantised";
import { loadTokenizer } from "../text/tokenizer";
import { MODEL_FOLDER } from "../train/run-folder";
import { stageName } from "../train/settings";
import { records } from "./examples";
import type { Kind } from "./kind";
import { quantisedLines, writeQuantised } from "./quantising";

export const schema = z.strictObject({
  kind: z.literal("quantize").meta({ description: "a model's matrices in 8 or 4 bits a weight" }),
  name: stageName("quantize"),
  from: z.string().min(1).optional().meta({
    description: "the model: an earlier stage, a run, a directory, a Hub name; the stage before if absent",
    neutral: true,
  }),
  scheme: z
    .enum(quantisations as ["nf4", "int8", "int4"])
    .default("int8")
    .meta({
      description:
        "int8: a scale for each row; int4: a scale and a least value for 64 inputs; nf4: QLoRA's. Tables are always in int8",
    }),
  data: z.string().min(1).optional().meta({
    description: "text (.txt), or records with answers: perplexity and the divergence from the original are told of it",
    neutral: true,
  }),
  calibration: z.string().min(1).optional().meta({
    description: "text or records of which int4 learns what inputs are large, so that their errors count more",
    neutral: true,
  }),
  template: records.template,
});

export type QuantizeConfig = z.infer<typeof schema>;

/** Refuses what would count for nothing. */
export function checkScheme({ scheme, calibration }: Pick<QuantizeConfig, "scheme" | "calibration">): void {
  if (calibration === undefined || scheme === "int4") return;
  throw new UserError(`a calibration counts for nothing with ${scheme}`, {
    hint: "leave it out, or use int4",
    exitCode: 2,
  });
}

export const quantize: Kind<QuantizeConfig> = {
  schema,
  version: 1,
  reads: ({ from }) => ({ from }),
  data: ({ data, calibration, template }) =>
    [data, calibration, templateFile(template)].filter((path) => path !== undefined && path !== null),
  check(config, { models, fresh }) {
    checkScheme(config);
    const { quantised } = models.get("from")!;
    const problem = fresh
      ? "there is no trained model to quantise"
      : quantised && `the model is quantised already, in ${quantised}`;
    if (problem) throw new UserError(problem, { hint: `stage ${config.name}: give from another model`, exitCode: 2 });
  },
  outline: ({ scheme, data, calibration }) => ({
    lines: [
      `its matrices in ${scheme}${calibration ? `, calibrated by ${calibration}` : ""}${data ? `, measured on ${data}` : ""}`,
    ],
    trained: null,
  }),
  result: ({ scheme }, from: ModelConfig) => ({ ...from, quantised: scheme }),
  async run({ name, scheme, data, calibration, template }, { device, directory, console, locate, find }) {
    const from = (await locate("from"))!;
    const tokenizer = await loadTokenizer(from);
    const figures = await writeAside(join(directory, MODEL_FOLDER), (out) =>
      writeQuantised(device, { from, out, tokenizer }, { scheme, data, calibration, template }, { console, find }),
    );
    for (const line of quantisedLines(figures)) console.note(`${name}: ${line}`);
    return "finished";
  },
};
