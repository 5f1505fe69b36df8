/**
 * The checkpoints of a stage: step-000100/ and so on, each a Hugging Face model directory plus the optimizer's state, and
 * checkpoints.json, which says which is the latest and which the best. A checkpoint appears under its name only when it is
 * whole and on disk: so a crash or a full disk leaves the previous one as it was.
 */

import {
  closeSync,
  existsSync,
  fsyncSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { mkdir, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { codeOf, messageOf, UserError } from "../errors";
import { writeSafetensors } from "../formats/safetensors";
import { namedValues, prefixed, readSlab } from "../formats/slabs";
import type { AdamW } from "../optim/adamw";
import type { Stage } from "./stage";

/** Where a run stands after `step` finished steps. */
export interface Progress {
  readonly step: number;
  readonly bestLoss: number | null;
  readonly bestStep: number | null;
  /** Evaluations since the best one. */
  readonly worse: number;
  /** Seconds of training, over all sittings. */
  readonly seconds: number;
}

/** What training.json holds. */
interface State extends Progress {
  /** As the stage has them; files of older versions have none. */
  readonly fingerprints?: Readonly<Record<string, string>>;
}

interface Index {
  readonly latest: string;
  readonly best: string | null;
  readonly finished: boolean;
}

export interface SaveOptions {
  readonly progress: Progress;
  readonly keep: number;
  readonly finished: boolean;
}

const nameOf = (step: number) => `step-${String(step).padStart(6, "0")}`;

/** Saves the stage as it stands and prunes older checkpoints. Throws a UserError if the disk will not have it. */
export async function saveCheckpoint(
  directory: string,
  stage: Stage,
  optimizer: AdamW,
  { progress, keep, finished }: SaveOptions,
): Promise<void> {
  const name = nameOf(progress.step);
  const temporary = join(directory, `.${name}.tmp`);
  try {
    await mkdir(temporary, { recursive: true });
    await stage.writeModel(temporary);
    const moments = [
      ...namedValues(optimizer.first, prefixed("first.")),
      ...namedValues(optimizer.second, prefixed("second.")),
    ];
    writeSafetensors(join(temporary, "optimizer.safetensors"), moments);
    const state: State = { ...progress, fingerprints: stage.fingerprints };
    writeFileSync(join(temporary, "training.json"), `${JSON.stringify(state, null, 2)}\n`);
    for (const file of readdirSync(temporary)) sync(join(temporary, file));
    await rm(join(directory, name), { recursive: true, force: true });
    await rename(temporary, join(directory, name));
    const best = progress.bestStep === null ? null : nameOf(progress.bestStep);
    writeIndex(directory, { latest: name, best, finished });
    prune(directory, { latest: name, best, keep });
  } catch (error) {
    rmSync(temporary, { recursive: true, force: true });
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

/** Which checkpoints a stage has, or null before the first. */
export function readIndex(directory: string): Index | null {
  const path = join(directory, "checkpoints.json");
  if (!existsSync(path)) return null;
  try {
    return JSON.parse(readFileSync(path, "utf8")) as Index;
  } catch (error) {
    throw new UserError(`${path} cannot be read: ${messageOf(error)}`, {
      hint: "give a checkpoint's own folder instead",
    });
  }
}

/** Loads the latest checkpoint's weights and optimizer state onto the device. Throws a UserError where what it is trained on has changed. */
export function resumeFrom(directory: string, { latest }: Index, stage: Stage, optimizer: AdamW): Progress {
  const from = join(directory, latest);
  const { fingerprints = {}, ...progress } = JSON.parse(readFileSync(join(from, "training.json"), "utf8")) as State;
  const changed = Object.keys(fingerprints).find((name) => fingerprints[name] !== stage.fingerprints[name]);
  if (changed !== undefined)
    throw new UserError(`the ${changed} that ${directory} was trained on so far has changed`, {
      hint: "bring it back as it was, or choose another folder with --out",
    });
  stage.readModel(from);
  const moments = join(from, "optimizer.safetensors");
  readSlab(moments, optimizer.first, prefixed("first."));
  readSlab(moments, optimizer.second, prefixed("second."));
  return progress;
}

function writeIndex(directory: string, index: Index): void {
  const path = join(directory, "checkpoints.json");
  writeFileSync(`${path}.tmp`, `${JSON.stringify(index, null, 2)}\n`);
  sync(`${path}.tmp`);
  renameSync(`${path}.tmp`, path);
}

function sync(path: string): void {
  const fd = openSync(path, "r");
  fsyncSync(fd);
  closeSync(fd);
}

/** Keeps the newest `keep`, the latest and the best; removes the rest, and what a crash left behind. */
function prune(directory: string, { latest, best, keep }: { latest: string; best: string | null; keep: number }): void {
  const all = readdirSync(directory);
  const steps = all.filter((file) => /^step-\d+$/.test(file)).sort((a, b) => stepOf(b) - stepOf(a));
  const unneeded = steps.filter((name, i) => i >= keep && name !== latest && name !== best);
  const remains = all.filter((file) => /^\.step-\d+\.tmp$/.test(file));
  for (const name of [...unneeded, ...remains]) rmSync(join(directory, name), { recursive: true, force: true });
}

const stepOf = (name: string) => Number(name.slice("step-".length));
