/** Opening a trained model: wherever a command takes a model, it takes a run, a stage, a checkpoint or a model directory. */

import { existsSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import type { Device } from "../device/device";
import { UserError } from "../errors";
import { readJson } from "../files";
import { type OpenOptions, openModelFiles, type StoredModel } from "../formats/checkpoint";
import { openAdapter, type StoredAdapter, trainedOn } from "../formats/peft";
import { ADAPTER_CONFIG } from "../formats/peft-config";
import { Engine } from "../generate/engine";
import { fitted, type Model, withAdapters } from "../model/model";

import type { Storage } from "../model/parameters";
import type { Slab } from "../model/slab";
import { expectWeightsFit } from "../stages/fits";
import { loadTokenizer, type Tokenizer } from "../text/tokenizer";
import { checkpointsIn, type Index, readIndex } from "../train/checkpoints";
import { INDEX_FILE, MODEL_FOLDER, RUN_FILE, STAGE_FILE } from "../train/run-folder";

export function isAdapter(directory: string): boolean {
  return existsSync(join(directory, ADAPTER_CONFIG));
}

/** The model or adapter directory that a path stands for: itself, a stage's best, else latest checkpoint, or that of the run's result. */
export function modelDirectory(path: string): string {
  if (existsSync(join(path, "config.json")) || isAdapter(path)) return path;
  const index = readIndex(path);
  if (index) return checkpointOf(path, index);
  const made = join(path, MODEL_FOLDER);
  if (existsSync(join(made, "config.json"))) return made;
  if (existsSync(join(path, RUN_FILE))) {
    const { stage, result } = runFile(path);
    const names = result === undefined ? stage.map(({ name }) => name) : [result];
    const last = names.findLast((name) => hasModel(join(path, name)));
    if (last !== undefined) return modelDirectory(join(path, last));
    const of = result === undefined ? "" : ` of its result, ${result},`;
    throw new UserError(`the run ${path} has no checkpoint${of} yet`, { hint: "let it train until it saves one" });
  }
  throw new UserError(`no model at ${path}`, {
    hint: "give a run folder, a checkpoint, or a model directory with config.json",
  });
}

function checkpointOf(stage: string, { best, latest }: Index): string {
  const name = best ?? latest;
  const checkpoint = join(stage, name);
  if (existsSync(checkpoint)) return checkpoint;
  const others = checkpointsIn(stage).map((other) => join(stage, other));
  throw new UserError(`the ${best ? "best" : "latest"} checkpoint of ${stage}, ${name}, is gone`, {
    hint: `bring it back, ${others.length ? `give another (${others.join(", ")}), ` : ""}or run the same config again`,
  });
}

/** A folder that is a model's, or a part of a run, would still stand for that with a run or a tokenizer in it. */
export function expectNoModel(folder: string): void {
  const parts = ["config.json", ADAPTER_CONFIG, INDEX_FILE, STAGE_FILE, join(MODEL_FOLDER, "config.json")];
  const found = parts.find((part) => existsSync(join(folder, part)));
  if (found)
    throw new UserError(`${folder} is the folder of a model: it has ${found}`, {
      hint: "give another folder with --out",
      exitCode: 2,
    });
}

function hasModel(folder: string): boolean {
  return readIndex(folder) !== null || existsSync(join(folder, MODEL_FOLDER, "config.json"));
}

/** What is read of a run's config: its stages in order, and the one that it stands for. */
const runSchema = z.object({
  stage: z.array(z.object({ name: z.string() })),
  result: z.string().optional(),
});

function runFile(run: string) {
  return readJson(join(run, RUN_FILE), runSchema, "give a stage's folder or a checkpoint instead");
}

/** The directories that make up a model. */
export interface ModelParts {
  readonly base: string;
  /** Adapters on top of it, all at once. */
  readonly adapters: readonly string[];
  /** Whose tokenizer it is: the last adapter's, which has the template that it was trained with, or the base's. */
  readonly tokenizer: string;
}

export interface OpenModel extends Disposable {
  readonly parts: ModelParts;
  readonly model: Model;
  readonly weights: Slab;
  /** Every slab that the model reads: its weights, then those of its adapters. */
  readonly slabs: readonly Slab[];
  readonly tokenizer: Tokenizer;
  readonly engine: Engine;
}

/** A model whose files are whole and of one model, and that the device can hold; no values were read, and nothing was allocated. */
export interface CheckedModel extends Disposable {
  readonly parts: ModelParts;
  readonly stored: StoredModel;
  readonly adapters: readonly StoredAdapter[];
  readonly tokenizer: Tokenizer;
}

/** Without `storage` the base is held as it was while its adapters were trained, or as its files have it. */
export async function checkParts(
  device: Device,
  parts: ModelParts,
  { storage: wanted, score }: OpenOptions = {},
): Promise<CheckedModel> {
  const tokenizer = await loadTokenizer(parts.tokenizer);
  const storage = wanted ?? (parts.adapters.length ? trainedOn(parts.adapters[0]!) : undefined);
  const stored = await openModelFiles(parts.base, { storage, ...(score !== undefined && { score }) });
  const adapters: StoredAdapter[] = [];
  const close = () => {
    for (const files of [stored, ...adapters]) files[Symbol.dispose]();
  };
  try {
    const { config, parameters } = stored.model;
    expectRows(stored.model, tokenizer, parts.tokenizer);
    expectWeightsFit(device, config, parameters);
    for (const directory of parts.adapters) adapters.push(openAdapter(directory, stored.model));
    expectStackable(adapters);
    return { parts, stored, adapters, tokenizer, [Symbol.dispose]: close };
  } catch (error) {
    close();
    throw error;
  }
}

/** A table without rows for all tokens is another model's. */
export function expectRows({ config }: Model, { size }: Tokenizer, where: string): void {
  if (size <= config.vocabulary) return;
  throw new UserError(`${where}: the tokenizer has ${size} tokens, and the model ${config.vocabulary}`, {
    hint: "these files are not of one model",
  });
}

export function expectStackable(adapters: readonly StoredAdapter[]): void {
  if (adapters.length > 1 && adapters.some(({ adapter }) => adapter.settings.dora))
    throw new UserError("a DoRA adapter cannot be stacked with another", { hint: "merge one of them first" });
}

/** Loads a model onto the device, with its tokenizer. `path`: a run, a checkpoint or a model directory without adapters. */
export async function openModel(device: Device, given: string | ModelParts, storage?: Storage): Promise<OpenModel> {
  const parts = typeof given === "string" ? withoutAdapters(modelDirectory(given)) : given;
  using checked = await checkParts(device, parts, { storage });
  const { stored, adapters, tokenizer } = checked;
  const slabs: Slab[] = [];
  try {
    for (const files of [stored, ...adapters]) slabs.push(files.load(device));
  } catch (error) {
    for (const slab of slabs) slab[Symbol.dispose]();
    throw error;
  }
  const model = withAdapters(
    fitted(stored.model, device),
    adapters.map(({ adapter }) => adapter),
  );
  const engine = new Engine(device, model, slabs);
  return {
    parts,
    model,
    weights: slabs[0]!,
    slabs,
    tokenizer,
    engine,
    [Symbol.dispose]() {
      for (const owned of [engine, ...slabs]) owned[Symbol.dispose]();
    },
  };
}

export function withoutAdapters(directory: string): ModelParts {
  return { base: directory, adapters: [], tokenizer: directory };
}
