/**
 * The checkpoints of a stage: step-000100/ and so on, each a Hugging Face model directory plus the optimizer's state, and
 * checkpoints.json, which says which is the latest and which the best. A checkpoint appears under its name only when it is
 * whole and on disk: so a crash or a full disk leaves the previous one as it was.
 */

import { existsSync, mkdirSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { codeOf, messageOf, UserError } from "../errors";
import {
  clearRemains,
  isForbidden,
  jsonObject,
  keepDamaged,
  readJson,
  unreadable,
  writeAside,
  writeTextAside,
} from "../files";
import { openSafetensors, writeSafetensors } from "../formats/safetensors";
import { namedValues, prefixed } from "../formats/slabs";
import type { Optimizer } from "../optim/optimizer";
import type { Progress } from "./progress";
import { INDEX_FILE, OPTIMIZER_FILE } from "./run-folder";
import type { Stage } from "./stage";
import { readTraining, writeTraining } from "./training-file";

const CHECKPOINT = /^step-\d{6,15}$/;

const checkpoint = z.string().regex(CHECKPOINT, "expected a checkpoint's name, such as step-000100");

const indexSchema = z.object({
  latest: checkpoint,
  best: checkpoint.nullable(),
  finished: z.boolean(),
});
export type Index = z.infer<typeof indexSchema>;

export interface SaveOptions {
  readonly progress: Progress;
  readonly keep: number;
  readonly finished: boolean;
}

export const nameOf = (step: number) => `step-${String(step).padStart(6, "0")}`;

/** Saves the stage as it stands and prunes older checkpoints. Throws a UserError if the disk will not have it. */
export async function saveCheckpoint(
  directory: string,
  stage: Stage,
  optimizer: Optimizer,
  { progress, keep, finished }: SaveOptions,
): Promise<void> {
  const name = nameOf(progress.step);
  try {
    await writeAside(join(directory, name), async (temporary) => {
      mkdirSync(temporary);
      await stage.write(temporary);
      const moments = optimizer.state.flatMap(([name, slab]) => namedValues(slab, prefixed(`${name}.`)));
      writeSafetensors(join(temporary, OPTIMIZER_FILE), moments);
      writeTraining(temporary, stage, progress);
    });
    const best = progress.best && nameOf(progress.best.step);
    writeIndex(directory, { latest: name, best, finished });
    prune(directory, { latest: name, best, keep });
  } catch (error) {
    const full = codeOf(error) === "ENOSPC";
    throw new UserError(
      `the checkpoint of step ${progress.step} could not be saved: ${full ? "the disk is full" : messageOf(error)}`,
      {
        hint: `${full ? "make room" : "mend that"} and run the same command again: the previous checkpoint is whole`,
        cause: error,
      },
    );
  }
}

/**
 * Which checkpoints a stage has, or null before the first. Where checkpoints.json is gone or damaged, its folders tell: the newest
 * is the latest, and knows which was the best by then.
 */
export function readIndex(directory: string): Index | null {
  return savedIndex(directory).index ?? indexOfFolders(directory);
}

/** Writes checkpoints.json anew where it is gone or damaged, and says so. */
export function mendIndex(directory: string, note: (line: string) => void): void {
  const { index, problem } = savedIndex(directory);
  if (index) return;
  const path = join(directory, INDEX_FILE);
  if (problem) note(`${problem.message}; it is kept in ${keepDamaged(path)}`);
  const found = indexOfFolders(directory);
  if (!found) return;
  note(`${path} is written anew: the latest checkpoint is ${found.latest}`);
  writeIndex(directory, found);
}

function savedIndex(directory: string): { readonly index: Index | null; readonly problem?: UserError } {
  const path = join(directory, INDEX_FILE);
  if (!existsSync(path)) return { index: null };
  try {
    return { index: readJson(path, indexSchema, "") };
  } catch (error) {
    if (error instanceof UserError) return { index: null, problem: error };
    throw error;
  }
}

function indexOfFolders(directory: string): Index | null {
  for (const latest of checkpointsIn(directory)) {
    try {
      const { progress } = readTraining(join(directory, latest));
      const best = progress.best && nameOf(progress.best.step);
      return { latest, best: best !== null && existsSync(join(directory, best)) ? best : null, finished: false };
    } catch (error) {
      if (!(error instanceof UserError)) throw error;
    }
  }
  return null;
}

/** Throws a UserError where a checkpoint or a file of it is gone, or a file cut short. Of weights it reads headers only. */
export function expectWhole(checkpoint: string): void {
  const { files } = readTraining(checkpoint);
  for (const file of new Set([...files, ...readdirSync(checkpoint)])) {
    const path = join(checkpoint, file);
    if (!existsSync(path)) throw unreadable(path, { code: "ENOENT" });
    if (file.endsWith(".safetensors")) openSafetensors(path)[Symbol.dispose]();
    else if (file.endsWith(".json") && Object.keys(readJson(path, jsonObject, "")).length === 0)
      throw new UserError(`${path} is empty`);
  }
}

/** What `expectWhole` finds; null where a checkpoint is whole. Throws where it may not be read, which is no damage. */
export function damageOf(checkpoint: string): UserError | null {
  try {
    expectWhole(checkpoint);
    return null;
  } catch (error) {
    if (error instanceof UserError && !isForbidden(error)) return error;
    throw error;
  }
}

/** The names of a stage's checkpoints, the newest first. */
export function checkpointsIn(directory: string): string[] {
  if (!existsSync(directory)) return [];
  return readdirSync(directory)
    .filter((file) => CHECKPOINT.test(file))
    .sort((a, b) => stepOf(b) - stepOf(a));
}

function writeIndex(directory: string, index: Index): void {
  writeTextAside(join(directory, INDEX_FILE), `${JSON.stringify(index, null, 2)}\n`);
}

/** Removes what a process left that died after it had saved: checkpoints that are not to be kept. */
export function tidy(directory: string, keep: number): void {
  const index = readIndex(directory);
  if (index) prune(directory, { ...index, keep });
}

/** Keeps the newest `keep`, the latest and the best; removes the rest, and what a crash left behind. */
function prune(directory: string, { latest, best, keep }: { latest: string; best: string | null; keep: number }): void {
  const unneeded = checkpointsIn(directory).filter((name, i) => i >= keep && name !== latest && name !== best);
  for (const name of unneeded) rmSync(join(directory, name), { recursive: true, force: true });
  clearRemains(directory);
}

export const stepOf = (name: string) => Number(name.slice("step-".length));
