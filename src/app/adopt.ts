/** Runs made before there were stage files: what their stages were made from is told by run.json, and by what lies there now. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { UserError } from "../errors";
import type { Reporter } from "../log/console";
import { readIndex } from "../train/checkpoints";
import { RUN_FILE, STAGE_FILE, TOKENIZER_FOLDER } from "../train/run-folder";
import { type Config, configSchema } from "./config";
import { outputOf, partsOf } from "./decide";
import { graphOf } from "./graph";
import type { Hasher } from "./hasher";
import { keyOf, type Parts } from "./parts";
import { tokenizerParts } from "./run-tokenizer";
import { foldersIn, type StageFile } from "./stage-file";

/**
 * Stage files for the folders of a run that have none. To be made before anything of the run is made again: what a stage reads is
 * taken for what it has read. Data are taken for unchanged. Where something cannot be told, it differs from anything.
 */
export async function adoptedFiles(
  directory: string,
  { console, hasher }: { readonly console: Reporter; readonly hasher: Hasher },
): Promise<ReadonlyMap<string, StageFile>> {
  const adopted = new Map<string, StageFile>();
  const without = foldersIn(directory).filter((name) => !existsSync(join(directory, name, STAGE_FILE)));
  const config = formerConfig(directory);
  const tokenizer = join(directory, TOKENIZER_FOLDER);
  const made = existsSync(join(tokenizer, "tokenizer_config.json"));
  const output = made ? await hasher.ofModel(tokenizer) : null;
  const scene = config && { config, directory, console, hasher, adopted, tokenizer: output };
  if (output && without.includes(TOKENIZER_FOLDER)) {
    const told = async () => ({ parts: scene ? await tokenizerParts(scene) : {}, output });
    adopted.set(TOKENIZER_FOLDER, await stageFile("finished", told));
  }
  const nodes = config ? graphOf(config) : [];
  for (const name of new Set([...nodes.map(({ name }) => name), ...without])) {
    const index = without.includes(name) ? readIndex(join(directory, name)) : null;
    if (!index || name.includes("@")) continue;
    const node = nodes.find((node) => node.name === name);
    const told = async () => ({
      parts: node && scene ? await partsOf(node, scene) : {},
      ...(index.finished && { output: await outputOf(name, { directory, console, hasher }) }),
    });
    adopted.set(name, await stageFile(index.finished ? "finished" : "begun", told));
  }
  return adopted;
}

/** Of no known parts where something is gone, such as data or an adapter's base. */
async function stageFile(
  state: StageFile["state"],
  told: () => Promise<{ readonly parts: Parts; readonly output?: string }>,
): Promise<StageFile> {
  try {
    const { parts, output } = await told();
    return { state, key: keyOf(parts), parts, output, seen: {} };
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    return { state, key: keyOf({}), parts: {}, seen: {} };
  }
}

/** The config that a run's folder was made by, by today's schema. What can no longer be read was made by none. */
function formerConfig(directory: string): Config | null {
  const path = join(directory, RUN_FILE);
  if (!existsSync(path)) return null;
  try {
    const result = configSchema.safeParse(JSON.parse(readFileSync(path, "utf8")));
    return result.success ? result.data : null;
  } catch {
    return null;
  }
}
