/** The stages: the schema, the settings of the loop, and the build of each. */
import { z } from "zod";
import type { Training } from "../train/settings";
import type { Built, Context } from "./context";
import * as pretrain from "./pretrain";
import * as sft from "./sft";

/** One `[[stage]]` table, told apart by its `kind`. */
export const stageSchema = z.discriminatedUnion("kind", [pretrain.schema, sft.schema]);
export type StageConfig = z.infer<typeof stageSchema>;

export function buildStage(config: StageConfig, context: Context): Promise<Built> {
  return config.kind === "pretrain" ? pretrain.build(config, context) : sft.build(config, context);
}

export function settingsOf(config: StageConfig): Training {
  return config.kind === "pretrain" ? pretrain.settings(config) : sft.settings(config);
}
