/** Going on from a stage's checkpoints: from the latest, or from the newest whole one where that is damaged or gone. */
import { existsSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { UserError } from "../errors";
import { isForbidden, keepDamaged } from "../files";
import { prefixed, readSlab } from "../formats/slabs";
import type { Optimizer } from "../optim/optimizer";
import { checkpointsIn, damageOf, expectWhole, mendIndex, nameOf, readIndex, stepOf } from "./checkpoints";
import type { Progress } from "./progress";
import { OPTIMIZER_FILE, TRAINING_FILE } from "./run-folder";
import type { Stage } from "./stage";
import { readTraining, type TrainingFile } from "./training-file";

export interface Resumed {
  readonly progress: Progress;
  /** The stage was at its end there. */
  readonly finished: boolean;
}

/**
 * Loads weights, optimizer state and the stage's own onto the device; null where nothing was saved yet. Says what is damaged, and
 * keeps it under another name. Throws a UserError where no checkpoint is whole, or where what it is trained on has changed.
 */
export function resume(
  directory: string,
  stage: Stage,
  optimizer: Optimizer,
  note: (line: string) => void,
): Resumed | null {
  mendIndex(directory, note);
  const index = readIndex(directory);
  if (!index) return null;
  const older = checkpointsIn(directory).filter((name) => stepOf(name) < stepOf(index.latest));
  const problems: UserError[] = [];
  for (const name of [index.latest, ...older]) {
    const checkpoint = join(directory, name);
    const read = wholeOr(() => readProgress(checkpoint), problems);
    if (!read) continue;
    const { fingerprints, state, progress } = read;
    expectSame(directory, fingerprints, stage);
    if (!wholeOr(() => load(checkpoint, stage, optimizer), problems)) continue;
    if (progress.step > stage.steps)
      throw new UserError(`${directory} has trained ${progress.step} steps, and was to train ${stage.steps}`, {
        hint: "give more steps, or choose another folder with --out",
      });
    if (state !== undefined) stage.state?.load(state);
    for (const { message } of problems) note(message);
    if (name !== index.latest) {
      for (const damaged of [index.latest, ...older.slice(0, older.indexOf(name))]) setAside(directory, damaged, note);
      note(`going on from ${name}, the newest checkpoint that is whole`);
    }
    const tokens = progress.tokens ?? tokensAt(join(directory, "metrics.jsonl"), progress.step);
    return {
      progress: { ...progress, tokens, best: stillWhole(directory, progress, note) },
      finished: index.finished && name === index.latest,
    };
  }
  throw new UserError(`no checkpoint in ${directory} is whole: ${problems[0]!.message}`, {
    hint: "bring one back as it was, or begin anew by --fresh",
    cause: problems[0],
  });
}

/** What `read` gives; null where it finds a file damaged. */
function wholeOr<T>(read: () => T, problems: UserError[]): T | null {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof UserError) || isForbidden(error)) throw error;
    problems.push(error);
    return null;
  }
}

function readProgress(checkpoint: string): TrainingFile {
  const file = readTraining(checkpoint);
  const { step } = file.progress;
  if (step === stepOf(basename(checkpoint))) return file;
  throw new UserError(`${join(checkpoint, TRAINING_FILE)} is of step ${step}`);
}

function load(checkpoint: string, stage: Stage, optimizer: Optimizer): true {
  expectWhole(checkpoint);
  stage.read(checkpoint);
  for (const [name, slab] of optimizer.state) readSlab(join(checkpoint, OPTIMIZER_FILE), slab, prefixed(`${name}.`));
  return true;
}

function expectSame(directory: string, before: TrainingFile["fingerprints"], { fingerprints }: Stage): void {
  const changed = Object.keys(before).find((name) => before[name] !== fingerprints[name]);
  if (changed === undefined) return;
  throw new UserError(`the ${changed} that ${directory} was trained on so far has changed`, {
    hint: "bring it back as it was, or choose another folder with --out",
  });
}

/** A checkpoint that is damaged is kept: no other takes its name. */
function setAside(directory: string, name: string, note: (line: string) => void): void {
  const path = join(directory, name);
  if (!existsSync(path)) return;
  note(`what is left of ${name} is kept in ${keepDamaged(path)}`);
}

/** The best so far; null where its checkpoint is no longer whole: then the next that is measured is the best. */
function stillWhole(directory: string, { best }: TrainingFile["progress"], note: (line: string) => void) {
  if (best === null) return null;
  const name = nameOf(best.step);
  const damage = damageOf(join(directory, name));
  if (!damage) return best;
  note(`${damage.message}: it was the best checkpoint; the best is now to be found among those still to come`);
  setAside(directory, name, note);
  return null;
}

/** What the metrics say was read by then: older checkpoints do not. */
function tokensAt(path: string, step: number): number {
  if (!existsSync(path)) return 0;
  const lines = readFileSync(path, "utf8")
    .split("\n")
    .filter((line) => line.includes('"num_tokens"'));
  const counts = lines.flatMap((line) => {
    try {
      const read = JSON.parse(line) as { readonly step: number; readonly num_tokens: number };
      return read.step <= step ? [read] : [];
    } catch {
      return [];
    }
  });
  const last = counts.at(-1);
  return last ? Math.round((last.num_tokens * step) / last.step) : 0;
}
