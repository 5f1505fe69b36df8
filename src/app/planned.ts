/** The model that a config asks for, before anything is trained or loaded. */

import { existsSync } from "node:fs";
import { readConfig } from "../formats/checkpoint";
import { cachedModel, isHubName } from "../hub/fetch";
import type { Console } from "../log/console";
import { checkHeads, type ModelConfig } from "../model/architecture";
import { presets } from "../model/architectures";
import { adapterOf, targeted } from "../model/lora";
import { type Model, modelOf, withAdapters } from "../model/model";
import type { StageConfig } from "../stages";
import type { Config } from "./config";
import { findFile } from "./embedded";
import { locateParts } from "./locate";
import type { MemoryOptions } from "./memory";

const GPT2_VOCABULARY = 50257;

/** The numbers of `model.from`'s model, or the preset's overridden by those given. */
export async function plannedModel({ model, tokenizer }: Config, console: Console): Promise<ModelConfig> {
  if (model.from !== undefined)
    return releasedConfig(model.from) ?? readConfig((await locateParts(model.from, console)).base);
  return modelConfig(model, expectedVocabulary(tokenizer));
}

/** The numbers of a released model that was not fetched yet: they are known without it. */
function releasedConfig(name: string): ModelConfig | null {
  const preset = presets[name];
  if (!preset || !isHubName(name) || existsSync(findFile(name)) || cachedModel(name)) return null;
  return { ...preset, vocabulary: GPT2_VOCABULARY, epsilon: 1e-5 };
}

/** What a stage trains, and in what batches: what its memory follows from. */
export function plannedTraining(
  stage: StageConfig,
  config: ModelConfig,
): { readonly model: Model; readonly batch: MemoryOptions } {
  const { rows, tokens = Math.min(1024, config.context) } = stage.batch;
  const batch = { rows, tokens, recompute: stage.recompute, activations: stage.activations };
  const lora = stage.kind === "sft" ? stage.lora : undefined;
  const model = modelOf(config, lora?.base);
  return { model: lora ? withAdapters(model, [adapterOf(targeted(model.modules, lora.targets), lora)]) : model, batch };
}

/** How large a tokenizer's vocabulary may become, before it is trained or read; GPT-2's for one from a file. */
function expectedVocabulary(tokenizer: Config["tokenizer"]): number {
  switch (tokenizer.kind) {
    case "bpe":
    case "word":
      return tokenizer.size;
    case "character":
      return 256;
    case "file":
      return GPT2_VOCABULARY;
    default:
      throw new Error(`tokenizer ${tokenizer satisfies never}`);
  }
}

/** The preset's numbers, overridden by those given. */
export function modelConfig({ preset, epsilon, ...given }: Config["model"], vocabulary: number): ModelConfig {
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
  checkHeads(config, "model");
  return config;
}
