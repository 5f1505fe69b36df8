/** What a run's folder says of itself, as far as it goes: a run that is going on, was interrupted, or was made by another version too. */
import { existsSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { foldersIn } from "../app/stage-file";
import { messageOf, UserError } from "../errors";
import { checkpointsIn } from "../train/checkpoints";
import { MEASURED_FILE, RESULTS_FILE, RUN_FILE, STAGE_FILE, TOKENIZER_FOLDER } from "../train/run-folder";
import { type Quantised, quantised, type Result, results } from "./measured";

export interface Point {
  readonly step: number;
  readonly values: Readonly<Record<string, number>>;
}

export interface Sample {
  readonly step: number;
  readonly prompt: string;
  readonly text: string;
}

export interface StageReport {
  readonly name: string;
  readonly kind: string;
  readonly state: "finished" | "begun" | "not begun";
  /** Settings that are not the defaults, by their keys. */
  readonly settings: readonly (readonly [key: string, value: string])[];
  readonly data: readonly string[];
  /** Stages and models that it reads, each with what for. */
  readonly reads: readonly { readonly key: string; readonly name: string }[];
  /** The version that made it. */
  readonly program: string | null;
  readonly device: string | null;
  readonly began: Date | null;
  readonly finished: Date | null;
  readonly points: readonly Point[];
  readonly samples: readonly Sample[];
  readonly quantised: Quantised | null;
  /** What a stage that measures has found. */
  readonly results: readonly Result[];
  /** Bytes of its last model's weights. */
  readonly bytes: number | null;
}

export interface RunReport {
  readonly name: string;
  readonly folder: string;
  /** Bytes of text that a token of the run's own tokenizer stands for. */
  readonly bytesPerToken: number | null;
  readonly stages: readonly StageReport[];
  /** What could not be read, a sentence each. */
  readonly notes: readonly string[];
}

const runFile = z.looseObject({
  name: z.string(),
  stage: z.array(z.looseObject({ kind: z.string(), name: z.string() })),
});

const stageFile = z.looseObject({
  state: z.string(),
  parts: z.record(z.string(), z.string()).default({}),
  made: z
    .object({ program: z.string(), device: z.string(), began: z.string(), finished: z.string().optional() })
    .optional(),
});

const tokenizerFile = z.looseObject({ bytesPerToken: z.number() });

/** Throws a UserError where the folder is no run's. */
export function readRun(folder: string): RunReport {
  const notes: string[] = [];
  if (!existsSync(folder) || !statSync(folder).isDirectory())
    throw new UserError(`there is no run ${folder}`, { hint: "give a run's folder, such as runs/demo", exitCode: 2 });
  const path = join(folder, RUN_FILE);
  const found = existsSync(path) ? parsed(path, runFile, notes) : null;
  // By their folders, where the run's own file does not say.
  const stages =
    found?.stage ??
    foldersIn(folder)
      .filter((name) => existsSync(join(folder, name, STAGE_FILE)) && name !== TOKENIZER_FOLDER)
      .map((name) => ({ name, kind: "" }));
  if (stages.length === 0)
    throw new UserError(`${folder} is no run: it has neither ${RUN_FILE} nor a stage`, {
      hint: "give a run's folder, such as runs/demo",
      exitCode: 2,
    });
  if (!found) notes.push(`${RUN_FILE} is missing or of another version: stages are told by their folders`);
  const told = stages.map(({ name, kind }) => readStage(join(folder, name), name, kind, notes));
  const measured = join(folder, TOKENIZER_FOLDER, MEASURED_FILE);
  const tokenizer = existsSync(measured) ? parsed(measured, tokenizerFile, notes) : null;
  return { name: found?.name ?? folder, folder, bytesPerToken: tokenizer?.bytesPerToken ?? null, stages: told, notes };
}

/** When something was; null, with a note, where that is no date. */
function dateOf(given: string | undefined, path: string, notes: string[]): Date | null {
  if (given === undefined) return null;
  const date = new Date(given);
  if (!Number.isNaN(date.getTime())) return date;
  notes.push(`${path} says when as ${JSON.stringify(given)}, which is no date`);
  return null;
}

function readStage(folder: string, name: string, kind: string, notes: string[]): StageReport {
  const path = join(folder, STAGE_FILE);
  const read = <T>(path: string, schema: z.ZodType<T>) => (existsSync(path) ? parsed(path, schema, notes) : null);
  const file = read(path, stageFile);
  const parts = Object.entries(file?.parts ?? {});
  const under = (prefix: string) => parts.filter(([key]) => key.startsWith(prefix));
  const { made } = file ?? {};
  const points = pointsIn(join(folder, "metrics.jsonl"), notes);
  if (file && points.length === 0 && existsSync(join(folder, "checkpoints.json")))
    notes.push(`${name} has no metrics: metrics.jsonl is missing or empty`);
  return {
    name,
    kind: kind || (file?.parts.kind ?? "").split(" ")[0] || "stage",
    state: file === null ? "not begun" : file.state === "finished" ? "finished" : "begun",
    settings: under("setting ").map(([key, value]) => [key.slice("setting ".length), value]),
    data: under("data ").map(([key]) => key.replace(/^data \d+: /, "")),
    reads: under("reads ")
      .map(([key]) => /^reads (.*?)(?:: (.*))?$/s.exec(key)!)
      .flatMap(([, key, of]) => (of === undefined ? [] : [{ key: key!, name: of }])),
    program: made?.program ?? null,
    device: made?.device ?? null,
    began: dateOf(made?.began, path, notes),
    finished: dateOf(made?.finished, path, notes),
    points,
    samples: samplesIn(folder),
    quantised: read(join(folder, "model", "quantization.json"), quantised),
    results: read(join(folder, RESULTS_FILE), results)?.results ?? [],
    bytes: weightsIn(folder),
  };
}

function parsed<T>(path: string, schema: z.ZodType<T>, notes: string[]): T | null {
  try {
    const found = schema.safeParse(JSON.parse(readFileSync(path, "utf8")));
    if (found.success) return found.data;
    notes.push(`${path} is of another version: ${found.error.issues[0]!.path.join(".")}`);
  } catch (error) {
    notes.push(`${path} cannot be read: ${messageOf(error)}`);
  }
  return null;
}

/** The lines of a file that are JSON objects; the last line of a run that goes on may be half written. */
function linesOf(path: string): Record<string, unknown>[] {
  if (!existsSync(path)) return [];
  return readFileSync(path, "utf8")
    .split("\n")
    .flatMap((line) => {
      try {
        const value: unknown = JSON.parse(line);
        return typeof value === "object" && value !== null ? [value as Record<string, unknown>] : [];
      } catch {
        return [];
      }
    });
}

export function pointsIn(path: string, notes: string[] = []): Point[] {
  const lines = linesOf(path);
  const points = lines.flatMap(({ step, ...rest }) => {
    if (typeof step !== "number") return [];
    const values = Object.fromEntries(
      Object.entries(rest).filter((entry): entry is [string, number] => typeof entry[1] === "number"),
    );
    return [{ step, values }];
  });
  if (points.length < lines.length) notes.push(`${path}: ${lines.length - points.length} lines say no step`);
  return points;
}

function samplesIn(folder: string): Sample[] {
  const text = (value: unknown) =>
    typeof value === "string" ? value : value === undefined ? "" : JSON.stringify(value);
  const of = (name: string) =>
    linesOf(join(folder, name)).flatMap(({ step, prompt, completion, text: whole }) =>
      typeof step === "number" ? [{ step, prompt: text(prompt), text: text(completion ?? whole) }] : [],
    );
  const tabled = of("samples.jsonl");
  return tabled.length > 0 ? tabled : of("told.jsonl");
}

function weightsIn(folder: string): number | null {
  for (const name of [checkpointsIn(folder)[0], "model"]) {
    const path = join(folder, name ?? "", "model.safetensors");
    if (name && existsSync(path)) return statSync(path).size;
  }
  return null;
}
