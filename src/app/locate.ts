/** Wherever a command takes a model: a run, a stage, a checkpoint, a model directory, or a name on the Hub, fetched if it is missing. */
import { existsSync, readdirSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { spooled } from "../data/spool";
import { UserError } from "../errors";
import { baseHashOf } from "../formats/peft";
import { readAdapterConfig } from "../formats/peft-config";
import { weightsHash } from "../formats/weights-files";
import { dataSetOf, type FetchedFile, fetchDataSet } from "../hub/datasets";
import { cachedModel, type FetchProgress, fetchModel, isHubName } from "../hub/fetch";
import { duration, type Reporter } from "../log/console";
import type { Reading } from "../stages/evals/subject";
import { keptAside } from "../train/run-folder";
import { findFile } from "./embedded";
import { isAdapter, type ModelParts, modelDirectory } from "./model";

/** The model directory that `given` stands for, or a folder that has `file`. What lies on the disk under that path goes before a name on the Hub. */
export async function locateModel(given: string, console: Reporter, file = "config.json"): Promise<string> {
  const path = findFile(given);
  if (existsSync(join(path, file))) return path;
  if (existsSync(path) || !isHubName(given)) return modelDirectory(path);
  return cachedModel(given) ?? (await fetchWithProgress(given, console));
}

export interface PartsOptions {
  /** More adapters, on top of the model's own. */
  readonly adapters?: readonly string[];
  /** Leaves out the model's own adapter: its base alone. */
  readonly baseOnly?: boolean;
}

/** Everything that a model is made of. An adapter brings its base, from where its config says. */
export async function locateParts(
  given: string,
  console: Reporter,
  { adapters = [], baseOnly = false }: PartsOptions = {},
): Promise<ModelParts> {
  const directory = await locateModel(given, console);
  const own = isAdapter(directory) ? [directory] : [];
  if (baseOnly && own.length === 0)
    throw new UserError(`${given} has no adapter of its own that --base-only could leave out`, {
      hint: "leave out --base-only",
      exitCode: 2,
    });
  const base = own.length ? await locateBase(directory, console) : directory;
  const more: string[] = [];
  for (const path of adapters) {
    const found = await locateModel(path, console);
    if (!isAdapter(found)) throw new UserError(`${path} is not an adapter`, { hint: "it has no adapter_config.json" });
    more.push(found);
  }
  const tokenizer = [...own, ...more].findLast((path) => existsSync(join(path, "tokenizer.json"))) ?? base;
  return { base, adapters: [...(baseOnly ? [] : own), ...more], tokenizer };
}

/** The model that an adapter is for: a path, from the adapter's folder or from here, or a name on the Hub. */
export async function locateBase(adapter: string, console: Reporter): Promise<string> {
  const { base } = readAdapterConfig(adapter);
  const hint = `set base_model_name_or_path in ${adapter}/adapter_config.json`;
  if (!base) throw new UserError(`${adapter} does not say which model it is for`, { hint });
  const places = [resolve(adapter, base), base].filter((path) => existsSync(path));
  const kept = isHubName(base) ? [] : keptBases(resolve(adapter, base));
  if (places.length + kept.length === 0 && !isHubName(base))
    throw new UserError(`${adapter} is for ${base}, which is not there`, { hint });
  const found = await locateModel(places[0] ?? kept[0] ?? base, console);
  if (isAdapter(found)) throw new UserError(`${adapter} is for ${base}, which is an adapter itself`, { hint });
  const wanted = baseHashOf(adapter);
  if (wanted === null || weightsHash(found) === wanted) return found;
  const same = kept.find((path) => weightsHash(path) === wanted);
  if (same) return same;
  throw new UserError(`${adapter} was trained on other weights than those that are in ${found} now`, {
    hint: "have it made again by its run's config, or bring back what it was trained on",
  });
}

/** Where an adapter's base may lie since the stage that it is of was made again: RUN/STAGE@KEY/CHECKPOINT for RUN/STAGE/CHECKPOINT. */
function keptBases(path: string): string[] {
  const [stage, run] = [basename(dirname(path)), dirname(dirname(path))];
  if (!existsSync(run)) return [];
  const folders = readdirSync(run).filter((name) => name.startsWith(keptAside(stage, "")));
  return folders.map((name) => join(run, name, basename(path))).filter((path) => existsSync(join(path, "config.json")));
}

/** A data set by its name, where no file has that name. */
export function isDataSet(given: string): boolean {
  return dataSetOf(given) !== undefined && !existsSync(findFile(given));
}

/** A data file: a path, where that is a pipe what comes through it, one inside the executable, or the training part of a data set by its name, fetched if it is missing. */
export async function locateData(given: string, console: Reporter): Promise<string> {
  if (!isDataSet(given)) return spooled(findFile(given));
  const files = (await fetchDataWithProgress(given, console)).filter(({ split }) => split === "train");
  if (files.length === 1) return files[0]!.path;
  throw new UserError(`${given} has ${files.length} files for training`, {
    hint: `give one or more of them: ${files.map(({ path }) => path).join(" ")}`,
    exitCode: 2,
  });
}

/** For what measures a model on data. */
export function readingBy(console: Reporter): Reading {
  return { console, find: (path) => locateData(path, console) };
}

/** Fetches a data set by its name, with progress. */
export function fetchDataWithProgress(name: string, console: Reporter): Promise<FetchedFile[]> {
  return withProgress(console, (onProgress) => fetchDataSet(name, dataSetOf(name)!, { onProgress }));
}

/** Fetches a model by its Hub name, with a bar, the speed and the time left. */
export async function fetchWithProgress(name: string, console: Reporter): Promise<string> {
  if (!isHubName(name)) {
    throw new UserError(`${name} is not a model's name`, {
      hint: "give a name such as gpt2 or owner/name",
      exitCode: 2,
    });
  }
  return withProgress(console, (onProgress) => fetchModel(name, onProgress));
}

async function withProgress<T>(console: Reporter, fetch: (onProgress: FetchProgress) => Promise<T>): Promise<T> {
  const start = performance.now();
  let shown = start;
  let first: number | null = null;
  try {
    return await fetch((done, total, file) => {
      const now = performance.now();
      first ??= done;
      if (now - shown < 200 && done < total) return;
      shown = now;
      const speed = (done - first) / Math.max(1, now - start);
      const left = speed > 0 ? `  eta ${duration((total - done) / speed / 1000)}` : "";
      console.status(
        `${bar(done / total)} ${megabytes(done)} of ${megabytes(total)} MB  ${(speed / 1000).toFixed(1)} MB/s${left}  ${file}`,
      );
    });
  } finally {
    console.done();
  }
}

const WIDTH = 24;

function bar(share: number): string {
  const full = Math.round(WIDTH * Math.min(1, share));
  return `[${"#".repeat(full)}${"-".repeat(WIDTH - full)}]`;
}

function megabytes(bytes: number): string {
  return (bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0);
}
