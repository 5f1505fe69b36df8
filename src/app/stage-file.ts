/** stage.json: what a stage was made from, and whether it is finished. The tokenizer of a run has one too. */
import { existsSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { UserError } from "../errors";
import { clearRemains, keepDamaged, readJson, writeTextAside } from "../files";
import type { Reporter } from "../log/console";
import { STAGE_FILE } from "../train/run-folder";
import { type Seen, seenSchema } from "./hasher";
import { withRoles } from "./older-parts";
import type { Parts } from "./parts";

const schema = z.object({
  state: z.enum(["begun", "finished"]),
  /** Of all parts: results of one key are the same. */
  key: z.string(),
  parts: z.record(z.string(), z.string()),
  /** The hash of the result's files. */
  output: z.string().optional(),
  /** By what it was made, and when. No part of the key. */
  made: z
    .object({ program: z.string(), device: z.string(), began: z.string(), finished: z.string().optional() })
    .optional(),
  seen: seenSchema.default({}),
});

type Read = z.infer<typeof schema>;
export type StageFile = Readonly<Omit<Read, "parts">> & { readonly parts: Parts };

export function readStageFile(folder: string): StageFile | null {
  const path = join(folder, STAGE_FILE);
  if (!existsSync(path)) return null;
  const file = readJson(path, schema, "run the run's config again, which puts it right");
  return { ...file, parts: withRoles(file.parts) };
}

/**
 * Puts a run's folders in order that nobody else writes into: what a killed process left is cleared away, and a stage file that cannot
 * be read is kept under another name; what it said is then told as of an older version's folder.
 */
export function mendFolders(directory: string, console: Reporter): void {
  clearRemains(directory);
  for (const name of foldersIn(directory)) {
    const folder = join(directory, name);
    clearRemains(folder);
    try {
      readStageFile(folder);
    } catch (error) {
      if (!(error instanceof UserError)) throw error;
      console.note(`${error.message}; it is kept in ${keepDamaged(join(folder, STAGE_FILE))}`);
    }
  }
}

export function writeStageFile(folder: string, file: StageFile): void {
  writeTextAside(join(folder, STAGE_FILE), `${JSON.stringify(file, null, 2)}\n`);
}

/** What is known of files from all stages of a run. */
export function seenIn(directory: string): Seen {
  return Object.assign({}, ...foldersIn(directory).map((name) => readStageFile(join(directory, name))?.seen));
}

export function foldersIn(directory: string): string[] {
  if (!existsSync(directory)) return [];
  if (!statSync(directory).isDirectory())
    throw new UserError(`${directory} is not a folder`, { hint: "choose another with --out", exitCode: 2 });
  const isFolder = (name: string) => statSync(join(directory, name), { throwIfNoEntry: false })?.isDirectory();
  return readdirSync(directory).filter(isFolder);
}
