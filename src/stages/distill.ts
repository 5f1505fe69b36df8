/**
 * Distillation: a student learns to say what a teacher would, on text or on answers. DistilGPT2's loss by default
 * (https://arxiv.org/abs/1910.01108; transformers' research project distillation); by `beta` the divergences of GKD
 * (https://arxiv.org/abs/2306.13649) at a temperature of its own.
 */
import { z } from "zod";
import { UserError } from "../errors";
import type { ModelConfig } from "../model/architecture";
import { copyLayers, layerMap, withLayers } from "../model/copied-layers";
import { type Distilling, towards } from "../model/distillation";
import { fitted, type Model, modelOf } from "../model/model";
import { initialise } from "../model/parameters";
import { Slab } from "../model/slab";
import { optim, stageName, steps, type Training } from "../train/settings";
import { rowLength } from "./comparing";
import type { Built, Context } from "./context";
import type { Planned, RunContext, Source } from "./kind";
import { modelConfig, newModel } from "./model-settings";
import * as onPolicy from "./on-policy";
import * as pretrain from "./pretrain";
import { expectSameTokenizer } from "./reference";
import * as sft from "./sft";

/** DistilGPT2's. */
const RATE = 5e-4;

const { lora: _adapter, loss: _loss, ...examples } = sft.schema.shape;

const { rollout } = onPolicy;

export const schema = z.strictObject({
  ...examples,
  model: newModel.optional().meta({
    description:
      "the sizes of a new student that reads text as its teacher does; with from = new one that has the run's tokenizer",
  }),
  kind: z.literal("distill").meta({ description: "a smaller model that learns to say what a larger one would" }),
  name: stageName("distill"),
  teacher: z
    .string()
    .min(1)
    .meta({ description: "the model to learn from: a stage, a run, a directory, a Hub name", neutral: true }),
  layers: z
    .union([z.int().min(1), z.array(z.int().min(0)).min(1)])
    .optional()
    .meta({
      description:
        "the student is made of the teacher's layers: so many, spread from the first to the last, or a list of them; else it is what `from` says",
    }),
  reads: z.enum(["auto", "text", "answers"]).default("auto").meta({
    description:
      "text: every token of windows of long text, as pretrain; answers: as sft; auto: text for files that end in .txt",
  }),
  weights: z
    .strictObject({
      divergence: z.number().min(0).default(0.5).meta({ description: "what the divergence from the teacher counts" }),
      data: z.number().min(0).optional().meta({
        description: "what the cross-entropy with the data counts; 0.5 if absent, and 0 with onPolicy",
      }),
      hidden: z.number().min(0).default(0).meta({
        description: "what 1 - cos of the last hidden states counts; text alone, and both of one width",
      }),
      relations: z.number().min(0).default(0).meta({
        description:
          "what the difference of the hidden states' correlations within a sequence counts, such as 10; text alone, whatever the widths",
      }),
    })
    .prefault({}),
  beta: z.number().min(0).max(1).default(0).meta({
    description: "0: KL(teacher || student); 1: KL(student || teacher), the reverse; between: the generalised JSD",
  }),
  temperature: z.number().min(0.05).max(100).default(2).meta({
    description:
      "what both logits are divided by in the divergence, which counts its square; answers are sampled by samples.temperature",
  }),
  onPolicy: z.number().min(0).max(1).default(0).meta({
    description: "the share of the steps whose answers the student writes itself (GKD's lambda)",
  }),
  sequenceLevel: z.boolean().default(false).meta({
    description: "the teacher writes the answers, once before training begins; those of the data are left",
  }),
  rollout: rollout.prefault({}),
  optim: optim
    .extend({
      steps: steps.optional(),
      lr: optim.shape.lr.unwrap().default(RATE),
      weightDecay: optim.shape.weightDecay.unwrap().default(0),
    })
    .prefault({}),
});

export type DistillConfig = z.infer<typeof schema>;

export const settings = (config: DistillConfig): Training => config;

/** Whether the student is made here, of the teacher's layers or as a new model that reads text as the teacher does. */
const isMade = ({ layers, model, from }: DistillConfig) =>
  layers !== undefined || (model !== undefined && from === undefined);

export const reads = (config: DistillConfig) => ({
  teacher: config.teacher,
  from: isMade(config) ? config.teacher : config.from,
});

export function shape(config: DistillConfig, from: ModelConfig): ModelConfig {
  if (config.layers !== undefined) return withLayers(from, layerMap(config.layers, from));
  return isMade(config) ? modelConfig(config.model!, from.vocabulary, "the student") : from;
}

/** The student, where it is not what `from` stands for: that is then the teacher. */
export function student(config: DistillConfig, source: Source, { device, console, seed }: RunContext): Source {
  if (!isMade(config)) return source;
  const own = (made: { readonly model: Model; readonly weights: Slab }): Source => ({
    ...source,
    ...made,
    base: null,
    [Symbol.dispose]: () => made.weights[Symbol.dispose](),
  });
  if (config.layers === undefined) {
    const model = fitted(modelOf(shape(config, source.model.config)), device);
    return own({ model, weights: new Slab(device, model.parameters, { values: initialise(model.parameters, seed) }) });
  }
  const map = layerMap(config.layers, source.model.config);
  console.note(
    `${config.name}: the student has layers ${map.join(", ")} of the teacher's ${source.model.config.layers}`,
  );
  return own(copyLayers(device, source, map));
}

export function check(config: DistillConfig, { models }: Planned): void {
  const { name, weights, layers, from, model, onPolicy, sequenceLevel, rollout, packing, dropout } = config;
  const refuse = (message: string, hint: string) => {
    throw new UserError(message, { hint: `stage ${name}: ${hint}`, exitCode: 2 });
  };
  const teacher = models.get("teacher")!;
  const own = shape(config, models.get("from")!);
  if (teacher.scalar) refuse("the teacher is a reward model, and a model that writes is wanted", "take another");
  if (layers !== undefined && (from !== undefined || model !== undefined))
    refuse("layers makes the student of the teacher, and from or model says otherwise", "leave one of them out");
  if (weights.divergence + weights.hidden + weights.relations === 0 && !sequenceLevel)
    refuse("nothing is learnt from the teacher", "weights.divergence, hidden or relations must be above 0");
  if (weights.hidden > 0 && teacher.width !== own.width)
    refuse(`the teacher has width ${teacher.width} and the student ${own.width}`, "weights.hidden needs the same");
  if (weights.hidden + weights.relations > 0 && !isText(config))
    refuse("weights.hidden and weights.relations go with text alone", "leave them out, or read text");
  if (isText(config) && config.optim.steps === undefined)
    refuse("optim.steps is missing", "text has no epochs: say how many steps");
  if (isWritten(config) && isText(config))
    refuse("onPolicy and sequenceLevel go with answers", "leave them out, or give records with answers");
  if (onPolicy > 0 && (weights.data ?? 0) > 0)
    refuse("weights.data counts the student's own answers with onPolicy", "leave it out: it teaches nothing");
  if (isWritten(config) && (packing || dropout > 0))
    refuse(
      "packing and dropout go with answers that are there before training",
      "leave them out with onPolicy and sequenceLevel",
    );
  const length = rowLength(config.batch.tokens, own.context);
  if (isWritten(config) && rollout.tokens >= length)
    refuse(
      `answers of ${rollout.tokens} tokens leave no room for a prompt in ${length}`,
      "use a smaller rollout.tokens",
    );
  if (length > teacher.context)
    refuse(`rows have ${length} tokens, and the teacher's context is ${teacher.context}`, "use fewer (batch.tokens)");
}

const isText = ({ reads, data }: DistillConfig) =>
  reads === "auto" ? [data].flat().every((path) => path.endsWith(".txt")) : reads === "text";

const isWritten = ({ onPolicy, sequenceLevel }: DistillConfig) => onPolicy > 0 || sequenceLevel;

/** What the data's cross-entropy counts where the config does not say. */
function withData(config: DistillConfig): Distilling {
  const { weights, onPolicy } = config;
  return { ...config, weights: { ...weights, data: weights.data ?? (onPolicy > 0 ? 0 : 0.5) } };
}

export async function build(config: DistillConfig, context: Context): Promise<Built> {
  const source = await context.open("teacher");
  try {
    expectSameTokenizer(source.tokenizer, context.tokenizer, `the teacher ${config.teacher}`);
    const lossOf = towards(source.model, withData(config));
    const other = {
      lossOf,
      frozen: [source.weights],
      fingerprints: { teacher: source.weights.fingerprint() },
    };
    const built = isText(config)
      ? await pretrain.build({ ...asText(config, context), kind: "pretrain" }, context, other)
      : isWritten(config)
        ? await onPolicy.build(config, context, source, lossOf)
        : await sft.build({ ...config, kind: "sft", loss: "nll" }, context, other);
    return {
      ...built,
      [Symbol.dispose]() {
        built[Symbol.dispose]();
        source[Symbol.dispose]();
      },
    };
  } catch (error) {
    source[Symbol.dispose]();
    throw error;
  }
}

function asText(config: DistillConfig, { model }: Context) {
  const tokens = rowLength(config.batch.tokens, model.config.context);
  return { ...config, batch: { ...config.batch, tokens }, optim: { ...config.optim, steps: config.optim.steps! } };
}
