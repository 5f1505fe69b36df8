/** The kinds of stage: a line each. Nothing else asks a stage for its kind. */
import { z } from "zod";
import * as cpo from "./cpo";
import * as distill from "./distill";
import * as dpo from "./dpo";
import * as evaluating from "./eval";
import * as grpo from "./grpo";
import type { Kind } from "./kind";
import * as kto from "./kto";
import * as merging from "./merge";
import * as orpo from "./orpo";
import * as ppo from "./ppo";
import * as pretrain from "./pretrain";
import * as quantizing from "./quantize";
import * as reward from "./reward";
import * as rloo from "./rloo";
import * as sft from "./sft";
import { trainingKind } from "./training-kind";

/** One `[[stage]]` table, told apart by its `kind`. */
export const stageSchema = z.discriminatedUnion("kind", [
  pretrain.schema,
  sft.schema,
  reward.schema,
  dpo.schema,
  kto.schema,
  orpo.schema,
  cpo.schema,
  ppo.schema,
  grpo.schema,
  rloo.schema,
  distill.schema,
  merging.schema,
  quantizing.schema,
  evaluating.schema,
]);
export type StageConfig = z.infer<typeof stageSchema>;

const kinds = {
  pretrain: trainingKind({ ...pretrain, version: 1 }),
  sft: trainingKind({ ...sft, version: 2 }),
  reward: trainingKind({ ...reward, version: 1 }),
  dpo: trainingKind({ ...dpo, version: 1 }),
  kto: trainingKind({ ...kto, version: 1 }),
  orpo: trainingKind({ ...orpo, version: 1 }),
  cpo: trainingKind({ ...cpo, version: 1 }),
  ppo: trainingKind({ ...ppo, version: 1 }),
  grpo: trainingKind({ ...grpo, version: 1 }),
  rloo: trainingKind({ ...rloo, version: 1 }),
  distill: trainingKind({ ...distill, version: 1 }),
  merge: merging.merge,
  quantize: quantizing.quantize,
  eval: evaluating.evaluation,
};

export function kindOf(config: StageConfig): Kind<StageConfig> {
  return kinds[config.kind] as unknown as Kind<StageConfig>;
}

/** Whether a stage makes a model, which others may go on from. */
export function makesModel(config: StageConfig): boolean {
  return kindOf(config).measures !== true;
}

/** The text that a run's tokenizer is trained on, if a stage has any. */
export function corpusOf(stages: readonly StageConfig[]): readonly string[] {
  const first = stages.find(({ kind }) => kind === "pretrain") as pretrain.PretrainConfig | undefined;
  return first ? [first.data].flat() : [];
}
