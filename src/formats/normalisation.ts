/** What a reward model's raw scores are multiplied with and shifted by. It stands in config.json, or of an adapter in adapter_config.json. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { jsonObject, readJson, writeTextAside } from "../files";
import { ADAPTER_CONFIG } from "./peft-config";

export interface Normalisation {
  readonly gain: number;
  readonly bias: number;
}

/** Raw scores as they are. */
export const raw: Normalisation = { gain: 1, bias: 0 };

const schema = z.object({ score_gain: z.number(), score_bias: z.number() });

/** Of a reward model's folder; null where it has none. */
export function readNormalisation(directory: string): Normalisation | null {
  const path = configIn(directory);
  if (!("score_gain" in readJson(path, jsonObject, ""))) return null;
  const { score_gain: gain, score_bias: bias } = readJson(path, schema, "score_gain and score_bias are numbers both");
  return { gain, bias };
}

/** Into the config that stands in the folder. */
export function writeNormalisation(directory: string, { gain, bias }: Normalisation): void {
  const path = configIn(directory);
  const json = { ...readJson(path, jsonObject, ""), score_gain: gain, score_bias: bias };
  writeTextAside(path, `${JSON.stringify(json, null, 2)}\n`);
}

function configIn(directory: string): string {
  const adapter = join(directory, ADAPTER_CONFIG);
  return existsSync(adapter) ? adapter : join(directory, "config.json");
}
