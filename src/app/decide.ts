/** What is to be done with a stage: nothing, to go on, to run, to run again and why. Nothing is built, and no data are tokenised. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Reporter } from "../log/console";
import { kindOf, type StageConfig } from "../stages";
import { modelConfig } from "../stages/model-settings";
import { readIndex } from "../train/checkpoints";
import { RUN_FILE } from "../train/run-folder";
import { type Config, configSchema } from "./config";
import type { Node } from "./graph";
import { locateData, locateParts } from "./locate";
import { modelDirectory } from "./model";
import {
  difference,
  type Hasher,
  keyOf,
  neutralKeys,
  type Parts,
  readStageFile,
  type StageFile,
  settingsOf,
} from "./stage-file";

export interface Decision {
  readonly what: "finished" | "go on" | "run" | "run again";
  /** Why it runs again. */
  readonly why: string | null;
  readonly key: string;
  readonly parts: Parts;
  /** As it stands now. */
  readonly before: StageFile | null;
}

/** The config that a run's folder was made by, or null. What can no longer be read was made by none. */
export function formerConfig(directory: string): Config | null {
  const path = join(directory, RUN_FILE);
  if (!existsSync(path)) return null;
  try {
    const result = configSchema.safeParse(JSON.parse(readFileSync(path, "utf8")));
    return result.success ? result.data : null;
  } catch {
    return null;
  }
}

export interface Scene {
  readonly config: Config;
  readonly directory: string;
  readonly console: Reporter;
  readonly hasher: Hasher;
  readonly former: Config | null;
  /** The output of the run's tokenizer, where a stage begins with a new model. */
  readonly tokenizer: string | null;
}

/** Everything that a stage's result depends on. The stages that it reads are finished. */
export async function partsOf(node: Node, scene: Scene): Promise<Parts> {
  const { config, directory, console, hasher } = scene;
  const kind = kindOf(node.stage);
  const parts: Record<string, string> = {
    kind: `${node.stage.kind} ${kind.version}`,
    seed: String(config.seed),
    ...ownSettings(node.stage),
  };
  for (const [key, reference] of node.reads) {
    if (reference.to === "new") {
      const sizes = ("model" in node.stage ? node.stage.model : undefined) ?? config.model;
      parts["reads new model"] = JSON.stringify(modelConfig(sizes, 1));
      parts["reads tokenizer"] = scene.tokenizer ?? "";
    } else if (reference.to === "stage") parts[`reads ${reference.node.name}`] = outputOf(directory, reference.node);
    else {
      const { base, adapters } = await locateParts(reference.name, console);
      const hashes = [];
      for (const folder of [base, ...adapters]) hashes.push(await hasher.ofModel(folder));
      parts[`reads ${reference.name}`] = hashes.join(" ");
    }
    if (key !== "from") parts[`setting ${key}`] = JSON.stringify(nameOf(reference));
  }
  for (const path of kind.data(node.stage)) parts[`data ${path}`] = await hasher.of(await locateData(path, console));
  return parts;
}

function nameOf(reference: { readonly to: string; readonly node?: Node; readonly name?: string }): string {
  return reference.node?.name ?? reference.name ?? reference.to;
}

function ownSettings(stage: StageConfig): Parts {
  const { kind: _, model: __, ...settings } = stage as StageConfig & { readonly model?: unknown };
  return settingsOf(settings, neutralKeys(kindOf(stage).schema));
}

export function outputOf(directory: string, { name }: Node): string {
  return readStageFile(join(directory, name))?.output ?? "";
}

/** The output of a stage that is finished: the hash of its result's files. */
export async function hashOfResult(directory: string, { name }: Node, hasher: Hasher): Promise<string> {
  return hasher.ofModel(modelDirectory(join(directory, name)));
}

export async function decide(node: Node, scene: Scene): Promise<Decision> {
  const parts = await partsOf(node, scene);
  const key = keyOf(parts);
  const folder = join(scene.directory, node.name);
  const before = readStageFile(folder) ?? (await adopted(node, parts, scene));
  const found = { key, parts, before };
  if (!before) return { ...found, what: "run", why: null };
  // Nothing was saved: there is nothing to keep.
  if (before.state === "begun" && !readIndex(folder)) return { ...found, what: "run", why: null };
  if (before.key === key) return { ...found, what: before.state === "finished" ? "finished" : "go on", why: null };
  return { ...found, what: "run again", why: difference(before.parts, parts) ?? "what it was made from has changed" };
}

/** A stage of a run made before there were stage files: its settings are compared, and its data are taken for unchanged. */
async function adopted(node: Node, parts: Parts, scene: Scene): Promise<StageFile | null> {
  const folder = join(scene.directory, node.name);
  const index = readIndex(folder);
  if (!index) return null;
  const former = scene.former?.stage.find(({ name }) => name === node.name);
  const then = former
    ? { ...withoutSettings(parts), ...ownSettings(former), seed: String(scene.former!.seed) }
    : { ...parts, "setting its config": "unknown" };
  return {
    state: index.finished ? "finished" : "begun",
    key: keyOf(then),
    parts: then,
    seen: {},
    ...(index.finished && { output: await hashOfResult(scene.directory, node, scene.hasher) }),
  };
}

function withoutSettings(parts: Parts): Parts {
  return Object.fromEntries(Object.entries(parts).filter(([name]) => !name.startsWith("setting ")));
}
