/** What is to be done with a stage: nothing, to go on, to run, to run again and why. Nothing is built, and no data are tokenised. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import type { z } from "zod";
import { UserError } from "../errors";
import type { Reporter } from "../log/console";
import { kindOf } from "../stages";
import { modelConfig } from "../stages/model-settings";
import { damageOf, readIndex, stepOf } from "../train/checkpoints";
import { keptAside, MODEL_FOLDER, RESULTS_FILE } from "../train/run-folder";
import type { Config } from "./config";
import type { Node } from "./graph";
import type { Hasher } from "./hasher";
import { locateData, locateParts } from "./locate";
import { changes, defaultParts, difference, keyOf, type Parts, settingParts } from "./parts";
import { readStageFile, type StageFile } from "./stage-file";

export interface Decision {
  /** `bring back`: a result of this key was set aside before. */
  readonly what: "finished" | "go on" | "run" | "run again" | "bring back";
  /** What is another than it was, where something stands there that was made otherwise. */
  readonly why: string | null;
  readonly key: string;
  readonly parts: Parts;
  /** As it stands now. */
  readonly before: StageFile | null;
}

export interface Scene {
  readonly config: Config;
  readonly directory: string;
  readonly console: Reporter;
  readonly hasher: Hasher;
  /** Stage files of what was made before there were any, by folder. */
  readonly adopted: ReadonlyMap<string, StageFile>;
  /** The output of the run's tokenizer, for stages that begin with a new model. */
  readonly tokenizer: string | null;
}

export type Before = Omit<Scene, "tokenizer">;

/** What the folder of a stage, or of the tokenizer, says of itself. */
export function stageFileOf({ directory, adopted }: Pick<Scene, "directory" | "adopted">, name: string) {
  return readStageFile(join(directory, name)) ?? adopted.get(name) ?? null;
}

export async function decide(node: Node, scene: Scene): Promise<Decision> {
  const { name } = node;
  const folder = join(scene.directory, name);
  const parts = await partsOf(node, scene);
  const decided = decision(name, { parts, saved: hasSaved(folder), scene, schema: schemaOf(node) });
  const { what, before } = decided;
  if (what === "run again" && before) return extended(node, decided, before, folder);
  if (what !== "finished" || before?.output === undefined) return decided;
  const output = await currentOutput(name, scene);
  if (output === before.output) return decided;
  if (output === DAMAGED || isDamaged(folder)) return { ...decided, what: "go on" };
  throw new UserError(`what is in ${folder} is not what ${name} made when it finished`, {
    hint: `bring it back, or have it made again by --only ${name} --fresh`,
  });
}

/** Whether there is anything in a stage's folder that could be kept. */
export function hasSaved(folder: string): boolean {
  return readIndex(folder) !== null || [MODEL_FOLDER, RESULTS_FILE].some((name) => existsSync(join(folder, name)));
}

/** `schema`: whose defaults the settings in `parts` leave out. */
export function decision(
  name: string,
  { parts, saved, scene, schema }: { parts: Parts; saved: boolean; scene: Before; schema: z.ZodType },
): Decision {
  const key = keyOf(parts);
  const before = saved ? stageFileOf(scene, name) : null;
  const found = { key, parts, before, why: null };
  if (before && keyOf(before.parts) === key)
    return { ...found, what: before.state === "finished" ? "finished" : "go on" };
  const why = saved ? difference(before?.parts ?? {}, parts, defaultParts(schema)) : null;
  const aside = readStageFile(join(scene.directory, keptAside(name, key)));
  if (aside?.key === key) return { ...found, why, what: "bring back" };
  return { ...found, why, what: saved ? "run again" : "run" };
}

/** Why a stage runs again whatever becomes of what it reads; null where that depends on it. */
export async function ownReason(node: Node, scene: Scene): Promise<string | null> {
  const own = (parts: Parts) =>
    Object.fromEntries(Object.entries(parts).filter(([name]) => !name.startsWith("reads ")));
  const before = stageFileOf(scene, node.name)?.parts ?? {};
  return difference(own(before), own(await partsOf(node, scene)), defaultParts(schemaOf(node)));
}

function schemaOf({ stage }: Node): z.ZodType {
  return kindOf(stage).schema;
}

/** Everything that a stage's result depends on. The stages that it reads are finished. */
export async function partsOf(node: Node, scene: Scene): Promise<Parts> {
  const { config, console, hasher } = scene;
  const { kind: name, model: sizes = config.model, ...settings } = node.stage as Node["stage"] & Sizes;
  const kind = kindOf(node.stage);
  const files = kind.data(node.stage);
  const parts: Record<string, string> = {
    kind: `${name} ${kind.version}`,
    seed: String(config.seed),
    ...settingParts(
      settings,
      kind.schema,
      files,
      Object.values(kind.reads(node.stage)).filter((name) => name !== undefined),
    ),
  };
  for (const [key, reference] of node.reads) {
    if (reference.to === "new") {
      const { vocabulary: _, ...own } = modelConfig(sizes, 1);
      for (const [key, value] of Object.entries(own)) parts[`setting model.${key}`] = JSON.stringify(value);
      parts["reads tokenizer"] = scene.tokenizer ?? "";
    } else if (reference.to === "stage") {
      const { name } = reference.node;
      parts[`reads ${key}: ${name}`] =
        stageFileOf(scene, name)?.state === "finished" ? await currentOutput(name, scene) : "";
    } else {
      const { base, adapters } = await locateParts(reference.name, console);
      parts[`reads ${key}: ${reference.name}`] = await hasher.ofModel(base, ...adapters);
    }
  }
  for (const [i, path] of files.entries())
    parts[`data ${i + 1}: ${path}`] = await hasher.of(await locateData(path, console));
  return parts;
}

/** A stage may have sizes of its own for a new model. */
interface Sizes {
  readonly model?: Config["model"];
}

/** A stage that is only to train longer goes on where what was trained so far would have been the same. */
function extended({ stage }: Node, decided: Decision, before: StageFile, folder: string): Decision {
  const { otherPast, schema } = kindOf(stage);
  const latest = readIndex(folder)?.latest;
  if (!otherPast || latest === undefined) return decided;
  const why = otherPast(stage, changes(before.parts, decided.parts, defaultParts(schema)), stepOf(latest));
  if (why === undefined) return decided;
  return why === null ? { ...decided, what: "go on" } : { ...decided, why: `${decided.why}: ${why}` };
}

/** Whether the checkpoint that a stage stands for is gone or cut short: then it goes on from one that is whole. */
function isDamaged(folder: string): boolean {
  const index = readIndex(folder);
  return index !== null && damageOf(join(folder, index.best ?? index.latest)) !== null;
}

/** Another output than any. */
const DAMAGED = "damaged";

/** The output of a stage as it is on the disk. */
async function currentOutput(name: string, scene: Scene): Promise<string> {
  try {
    return await outputOf(name, scene);
  } catch (error) {
    if (error instanceof UserError) return DAMAGED;
    throw error;
  }
}

/** The output of a stage that is finished: of an adapter, with its base; of one that makes no model, its results. */
export async function outputOf(
  name: string,
  { directory, console, hasher }: Pick<Scene, "directory" | "console" | "hasher">,
): Promise<string> {
  const results = join(directory, name, RESULTS_FILE);
  if (existsSync(results)) return hasher.of(results);
  const { base, adapters } = await locateParts(join(directory, name), console);
  return hasher.ofModel(base, ...adapters);
}
