/** The models that a stage reads, from disk: new, of an earlier stage, or from outside the run. Adapters are merged. */
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { basename, join, resolve } from "node:path";
import type { Device } from "../device/device";
import { scalarOf } from "../formats/checkpoint";
import { cachedModel, isHubName } from "../hub/fetch";
import { type Reporter, short } from "../log/console";
import { fitted, modelOf } from "../model/model";
import { initialise } from "../model/parameters";
import { Slab } from "../model/slab";
import type { StageConfig } from "../stages";
import { expectWeightsFit } from "../stages/fits";
import type { OpenAs, RunContext, Source } from "../stages/kind";
import { modelConfig } from "../stages/model-settings";
import type { Tokenizer } from "../text/tokenizer";
import { readIndex } from "../train/checkpoints";
import { BASE_FOLDER, keptAside, MERGED_FOLDER } from "../train/run-folder";
import type { Watch } from "../train/watch";
import type { Config } from "./config";
import { NEW, type Node, type Reference } from "./graph";
import type { Hasher } from "./hasher";
import { locateData, locateParts } from "./locate";
import { mergeModel } from "./merge";
import { checkParts, isAdapter, type ModelParts, modelDirectory, withoutAdapters } from "./model";

export interface Place {
  readonly config: Config;
  readonly device: Device;
  /** The run's folder. */
  readonly directory: string;
  readonly console: Reporter;
  readonly signal: AbortSignal;
  readonly hold?: (() => Disposable) | undefined;
  readonly watch?: Watch | undefined;
  /** The stages that are run are begun anew. */
  readonly fresh: boolean;
  /** The run's own tokenizer. */
  tokenizer(): Promise<Tokenizer>;
  readonly hasher: Hasher;
}

/** What a stage is run with. */
export function contextOf(node: Node, place: Place): RunContext {
  const { config, device, console, signal, hold, watch, directory, hasher } = place;
  const reference = (key: string) => node.reads.get(key)!;
  const locate = async (key: string) => {
    const to = reference(key);
    return to.to === "new" ? null : wholeModel(to, place);
  };
  return {
    device,
    seed: config.seed,
    console,
    signal,
    hold,
    watch,
    directory: join(directory, node.name),
    fresh: place.fresh,
    find: (path) => locateData(path, console),
    locate,
    nameOf(key) {
      const to = reference(key);
      return to.to === "stage" ? to.node.name : to.to === "new" ? NEW : to.name;
    },
    hashOfFile: (path) => hasher.of(path),
    hashOfModel: (directory) => hasher.ofModel(directory),
    async open(key, as = {}) {
      const found = await locate(key);
      const source =
        found === null ? await fresh(node.stage, as, place) : await opened(reference(key), found, as, place);
      const { model, tokenizer } = source;
      console.note(
        `${node.name}: a model of ${short(model.parameters.count)} parameters, vocabulary ${tokenizer.size}, context ${model.config.context}`,
      );
      return source;
    },
  };
}

async function fresh(
  stage: StageConfig,
  { scored }: OpenAs,
  { config, device, tokenizer: own }: Place,
): Promise<Source> {
  const tokenizer = await own();
  const sizes = ("model" in stage ? stage.model : undefined) ?? config.model;
  const given = modelConfig(sizes, tokenizer.size);
  const model = fitted(modelOf(scored ? scalarOf(given) : given), device);
  expectWeightsFit(device, model.config, model.parameters);
  const weights = new Slab(device, model.parameters, { values: initialise(model.parameters, config.seed) });
  return { model, weights, tokenizer, base: null, [Symbol.dispose]: () => weights[Symbol.dispose]() };
}

async function opened(
  reference: Reference,
  directory: string,
  { storage = "f32", scored }: OpenAs,
  { device, config }: Place,
): Promise<Source> {
  const how = { storage: storage === "auto" ? undefined : storage, ...(scored && { score: config.seed }) };
  using checked = await checkParts(device, withoutAdapters(directory), how);
  const { stored, tokenizer } = checked;
  const weights = stored.load(device);
  const named = reference.to === "outside" && isHubName(reference.name) && cachedModel(reference.name) === directory;
  return {
    model: fitted(stored.model, device),
    weights,
    tokenizer,
    base: named ? (reference as { readonly name: string }).name : resolve(directory),
    [Symbol.dispose]: () => weights[Symbol.dispose](),
  };
}

/** The folder of a model without adapters. */
async function wholeModel(reference: Exclude<Reference, { to: "new" }>, place: Place): Promise<string> {
  const { directory, console } = place;
  if (reference.to === "outside") {
    const parts = await locateParts(reference.name, console);
    if (parts.adapters.length === 0) return parts.base;
    const hash = await hashOf(parts, place);
    const { folder, made } = baseFolder(directory, hash);
    if (!made) {
      console.note(`${reference.name} is an adapter: training goes on from it as merged into ${folder}`);
      await mergeMarked(parts, folder, hash);
    }
    return folder;
  }
  const { name } = reference.node;
  const merged = await mergedStage(name, place);
  if (merged !== null) return merged;
  const folder = join(directory, name);
  const saved = modelDirectory(folder);
  const index = readIndex(folder);
  if (index && basename(saved) !== index.latest)
    console.note(`${name}: the next stage goes on from its best checkpoint, ${basename(saved)}`);
  return resolve(saved);
}

/** A stage's adapter, merged: again where it was merged from something else. Null where its result is a whole model. */
export async function mergedStage(name: string, place: Place): Promise<string | null> {
  const { directory, console } = place;
  const saved = modelDirectory(join(directory, name));
  if (!isAdapter(saved)) return null;
  const parts = await locateParts(saved, console);
  const merged = resolve(directory, name, MERGED_FOLDER);
  const wanted = await hashOf(parts, place);
  if (madeFrom(merged) !== wanted) {
    rmSync(merged, { recursive: true, force: true });
    await mergeMarked(parts, merged, wanted);
  }
  return merged;
}

function hashOf({ base, adapters }: ModelParts, { hasher }: Place): Promise<string> {
  return hasher.ofModel(base, ...adapters);
}

async function mergeMarked(parts: ModelParts, folder: string, hash: string): Promise<void> {
  await mergeModel(parts, folder, (made) => writeFileSync(join(made, MADE_FROM), `${hash}\n`));
}

function madeFrom(folder: string): string | null {
  const path = join(folder, MADE_FROM);
  return existsSync(path) ? readFileSync(path, "utf8").trim() : null;
}

/** In a merged model: the hash of what it was merged from. */
const MADE_FROM = "made-from";

/** Where an adapter from outside lies merged, or would; one for each that the run has gone on from. */
function baseFolder(directory: string, hash: string): { folder: string; made: boolean } {
  const first = join(directory, BASE_FOLDER);
  // One that does not say what it was merged from may be of another adapter.
  if (madeFrom(first) === hash) return { folder: first, made: true };
  const folder = existsSync(first) ? join(directory, keptAside(BASE_FOLDER, hash)) : first;
  return { folder, made: existsSync(folder) };
}

/** Whether a stage begins with a new model. */
export function beginsNew({ reads }: Node): boolean {
  return [...reads.values()].some(({ to }) => to === "new");
}
