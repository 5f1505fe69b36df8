/** The sizes of the models that a config's stages read, before anything is trained or loaded. */
import { existsSync } from "node:fs";
import { readConfig, scalarOf } from "../formats/checkpoint";
import { cachedModel, isHubName } from "../hub/fetch";
import type { Reporter } from "../log/console";
import type { ModelConfig } from "../model/architecture";
import { presets } from "../model/architectures";
import { kindOf } from "../stages";
import { modelConfig } from "../stages/model-settings";
import type { Config } from "./config";
import { findFile } from "./embedded";
import type { Node, Reference } from "./graph";
import { locateParts } from "./locate";

const GPT2_VOCABULARY = 50257;

/** The sizes of the model that a stage goes on from, or of the first that it reads. */
export function plannedModel(node: Node, config: Config, console: Reporter): Promise<ModelConfig> {
  const [reference] = node.reads.values();
  return plannedRead(reference!, node, config, console);
}

/** The sizes of one of the models that a stage reads. */
export async function plannedRead(
  reference: Reference,
  { stage: asking }: Node,
  config: Config,
  console: Reporter,
): Promise<ModelConfig> {
  switch (reference.to) {
    case "stage": {
      const sizes = await plannedModel(reference.node, config, console);
      const { stage } = reference.node;
      const { result, scored } = kindOf(stage);
      const made = result ? result(stage, sizes) : sizes;
      return scored ? scalarOf(made) : made;
    }
    case "outside": {
      const { name } = reference;
      return releasedConfig(name) ?? readConfig((await locateParts(name, console)).base);
    }
    case "new":
      return modelConfig(
        ("model" in asking ? asking.model : undefined) ?? config.model,
        expectedVocabulary(config.tokenizer),
      );
    default:
      throw new Error(`reference ${reference satisfies undefined}`);
  }
}

/** The numbers of a released model that was not fetched yet: they are known without it. */
function releasedConfig(name: string): ModelConfig | null {
  if (!Object.hasOwn(presets, name) || !isHubName(name) || existsSync(findFile(name)) || cachedModel(name)) return null;
  return { ...presets[name]!, vocabulary: GPT2_VOCABULARY, epsilon: 1e-5 };
}

/** How large a tokenizer's vocabulary may become, before it is trained or read; GPT-2's for one from a file. */
function expectedVocabulary(tokenizer: Config["tokenizer"]): number {
  switch (tokenizer.kind) {
    case "bpe":
    case "word":
      return tokenizer.size;
    case "character":
      // Its characters, and the end of text.
      return tokenizer.alphabet === undefined ? 256 : new Set(tokenizer.alphabet).size + 1;
    case "file":
      return GPT2_VOCABULARY;
    default:
      throw new Error(`tokenizer ${tokenizer satisfies never}`);
  }
}
