/**
 * The checkpoints of a stage: step-000100/ and so on, each a Hugging Face model directory plus the optimizer's state, and
 * checkpoints.json, which says which is the latest and which the best. A checkpoint appears under its name only when it is
 * whole and on disk: so a crash or a full disk leaves the previous one as it was.
 */

import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { codeOf, messageOf, UserError } from "../errors";
import { readJson, writeAside, writeTextAside } from "../files";
import { writeSafetensors } from "../formats/safetensors";
import { namedValues, prefixed, readSlab } from "../formats/slabs";
import type { AdamW } from "../optim/adamw";
import type { Progress } from "./progress";
import { INDEX_FILE } from "./run-folder";
import type { Json, Stage } from "./stage";

const indexSchema = z.object({
  latest: z.string(),
  best: z.string().nullable(),
  finished: z.boolean(),
});
type Index = z.infer<typeof indexSchema>;

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
  try {
    await writeAside(join(directory, name), async (temporary) => {
      mkdirSync(temporary);
      await stage.write(temporary);
      const moments = optimizer.state.flatMap(([name, slab]) => namedValues(slab, prefixed(`${name}.`)));
      writeSafetensors(join(temporary, "optimizer.safetensors"), moments);
      const { fingerprints } = stage;
      const state = { ...progress, fingerprints, ...(stage.state && { state: stage.state.save() }) };
      writeFileSync(join(temporary, "training.json"), `${JSON.stringify(state, null, 2)}\n`);
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

/** Which checkpoints a stage has, or null before the first. */
export function readIndex(directory: string): Index | null {
  const path = join(directory, INDEX_FILE);
  return existsSync(path) ? readJson(path, indexSchema, "give a checkpoint's own folder instead") : null;
}

/** Loads the latest checkpoint's weights and optimizer state onto the device. Throws a UserError where what it is trained on has changed. */
export function resumeFrom(directory: string, { latest }: Index, stage: Stage, optimizer: AdamW): Progress {
  const from = join(directory, latest);
  const { fingerprints, state, progress } = readTraining(join(from, "training.json"));
  const changed = Object.keys(fingerprints).find((name) => fingerprints[name] !== stage.fingerprints[name]);
  if (changed !== undefined)
    throw new UserError(`the ${changed} that ${directory} was trained on so far has changed`, {
      hint: "bring it back as it was, or choose another folder with --out",
    });
  stage.read(from);
  const moments = join(from, "optimizer.safetensors");
  for (const [name, slab] of optimizer.state) readSlab(moments, slab, prefixed(`${name}.`));
  if (state !== undefined) stage.state?.load(state as Json);
  return { ...progress, tokens: progress.tokens ?? tokensAt(join(directory, "metrics.jsonl"), progress.step) };
}

const trainingSchema = z.object({
  step: z.int().min(0),
  best: z.object({ step: z.int().min(0), score: z.number(), values: z.record(z.string(), z.number()) }).nullish(),
  worse: z.int().min(0),
  evaluated: z.int().min(0).optional(),
  tokens: z.number().min(0).optional(),
  seconds: z.number().min(0),
  fingerprints: z.record(z.string(), z.string()).default({}),
  state: z.unknown().optional(),
  // Older files name the best evaluation by its loss.
  bestLoss: z.number().nullish(),
  bestStep: z.int().nullish(),
});

function readTraining(path: string) {
  const hint = "the checkpoint is damaged: bring it back as it was, or begin anew by --fresh";
  const { fingerprints, state, bestLoss, bestStep, best, ...rest } = readJson(path, trainingSchema, hint);
  const older =
    bestLoss == null || bestStep == null
      ? null
      : { step: bestStep, score: -bestLoss, values: { validation_loss: bestLoss } };
  return { fingerprints, state, progress: { ...rest, best: best ?? older, evaluated: rest.evaluated ?? rest.step } };
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

function writeIndex(directory: string, index: Index): void {
  writeTextAside(join(directory, INDEX_FILE), `${JSON.stringify(index, null, 2)}\n`);
}

/** Keeps the newest `keep`, the latest and the best; removes the rest, and what a crash left behind. */
function prune(directory: string, { latest, best, keep }: { latest: string; best: string | null; keep: number }): void {
  const all = readdirSync(directory);
  const steps = all.filter((file) => /^step-\d+$/.test(file)).sort((a, b) => stepOf(b) - stepOf(a));
  const unneeded = steps.filter((name, i) => i >= keep && name !== latest && name !== best);
  const remains = all.filter((file) => /^\.step-\d+\..*tmp$/.test(file));
  for (const name of [...unneeded, ...remains]) rmSync(join(directory, name), { recursive: true, force: true });
}

const stepOf = (name: string) => Number(name.slice("step-".length));
