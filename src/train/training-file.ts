/** training.json of a checkpoint: how far it has come, on what it is trained, and what else its stage must know. */
import { readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { readJson } from "../files";
import type { Progress } from "./progress";
import { TRAINING_FILE } from "./run-folder";
import type { Json, Stage } from "./stage";

const schema = z.object({
  step: z.int().min(0),
  best: z.object({ step: z.int().min(0), score: z.number(), values: z.record(z.string(), z.number()) }).nullish(),
  worse: z.int().min(0),
  evaluated: z.int().min(0).optional(),
  tokens: z.number().min(0).optional(),
  seconds: z.number().min(0),
  arithmetic: z.string().optional(),
  fingerprints: z.record(z.string(), z.string()).default({}),
  state: z.unknown().optional(),
  files: z.array(z.string()).default([]),
  // Older files name the best evaluation by its loss.
  bestLoss: z.number().nullish(),
  bestStep: z.int().nullish(),
});

export interface TrainingFile {
  /** Older files do not say how many tokens were read. */
  readonly progress: Omit<Progress, "tokens"> & { readonly tokens?: number | undefined };
  readonly fingerprints: Readonly<Record<string, string>>;
  readonly state: Json | undefined;
  /** What else was written into the checkpoint; nothing where an older version wrote it. */
  readonly files: readonly string[];
}

export function readTraining(checkpoint: string): TrainingFile {
  const path = join(checkpoint, TRAINING_FILE);
  const { fingerprints, state, files, bestLoss, bestStep, best, ...rest } = readJson(path, schema, "");
  const older =
    bestLoss == null || bestStep == null
      ? null
      : { step: bestStep, score: -bestLoss, values: { validation_loss: bestLoss } };
  return {
    fingerprints,
    state: state as Json | undefined,
    files,
    progress: { ...rest, best: best ?? older, evaluated: rest.evaluated ?? rest.step },
  };
}

/** To be written last: it names the checkpoint's other files. */
export function writeTraining(checkpoint: string, { fingerprints, state }: Stage, progress: Progress): void {
  const files = readdirSync(checkpoint).sort();
  const content = { ...progress, fingerprints, ...(state && { state: state.save() }), files };
  writeFileSync(join(checkpoint, TRAINING_FILE), `${JSON.stringify(content, null, 2)}\n`);
}
