/** A model directory as Hugging Face lays it out: config.json, model.safetensors, and the tokenizer's files beside them. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import type { Device } from "../device/device";
import { UserError } from "../errors";
import { jsonObject, readJson } from "../files";
import { HEAD, type ModelConfig, SCORE, type SpecialTokens } from "../model/architecture";
import { architectureOf } from "../model/architectures";
import { type Model, modelOf } from "../model/model";
import { initialise, type Parameter, type Parameters, parameter, type Storage } from "../model/parameters";
import { Slab, unquantisedValues } from "../model/slab";
import { isQuantised } from "../tensor/stored";
import { patiently } from "../tick";
import { expectParts, namedParts, quantisationIn, quantizationConfig, readWords } from "./quantised";
import { type NamedValues, safetensorsWriting, writeSafetensors } from "./safetensors";
import {
  expectTensors,
  type Names,
  namedValues,
  OTHER_MODEL,
  PART,
  partsOf,
  readInto,
  readSlab,
  valuesOf,
} from "./slabs";
import { openWeights, type StoredTensor, type WeightsFiles } from "./weights-files";

const HEAD_WEIGHT = `${HEAD}.weight`;

/** transformers writes an architecture's prefix before all names but the heads'; original files have none. */
function namesOf({ type }: ModelConfig): Names {
  const { prefix } = architectureOf(type, "model").files;
  return (name) => (name === HEAD_WEIGHT || name === SCORE ? [name] : [prefix + name, name]);
}

/** Reads config.json. Refuses, by name, what its architecture does not do. */
export async function readConfig(directory: string): Promise<ModelConfig> {
  const path = join(directory, "config.json");
  if (!existsSync(path))
    throw new UserError(`no model at ${directory}: it has no config.json`, {
      hint: "give a run folder, a checkpoint, or a model directory",
    });
  const json = readJson(path, jsonObject, "the file may be truncated");
  const config = architectureOf(json.model_type, path).fromJson(json, path);
  const quantised = quantisationIn(json, path);
  return { ...config, ...(quantised && { quantised }) };
}

/** The same model in numbers of its own. */
export function unquantised({ quantised: _, ...config }: ModelConfig): ModelConfig {
  return config;
}

/**
 * Loads a model directory onto the device, tensor by tensor: every tensor's shape is checked before any value is read. Without
 * `storage` it is held as its files have it.
 */
export async function loadModel(
  device: Device,
  directory: string,
  storage?: Storage,
): Promise<{ model: Model; weights: Slab }> {
  using stored = await openModelFiles(directory, { storage });
  return { model: stored.model, weights: stored.load(device) };
}

/** What a model directory holds, once its tensors were found to be those of its config. Reads no values. */
export async function checkModel(directory: string): Promise<Model> {
  using stored = await openModelFiles(directory);
  return stored.model;
}

/** A model's files, checked and open: its values are read one tensor at a time. */
export interface StoredModel extends Disposable {
  readonly model: Model;
  /** As numbers, however they are stored. */
  values(parameter: Parameter): Float32Array;
  /** All of them, onto the device. */
  load(device: Device): Slab;
}

export interface OpenOptions {
  /** How the model holds its weights: as its files have them if absent. */
  readonly storage?: Storage | undefined;
  /** Gives a model without a scalar head a fresh one, drawn by this seed. */
  readonly score?: number;
}

/** Throws where a model directory's tensors are not those of its config. Reads no values. */
export async function openModelFiles(directory: string, { storage, score }: OpenOptions = {}): Promise<StoredModel> {
  const config = await readConfig(directory);
  const { quantised } = config;
  const asStored = storage === undefined || storage === quantised;
  if (!asStored && quantised && isQuantised(storage))
    throw new UserError(`${directory} is quantised in ${quantised}, and is not quantised again in ${storage}`, {
      hint: "leave out --storage, or take the model that it was made of",
      exitCode: 2,
    });
  const fresh = score !== undefined && !config.scalar;
  const held = asStored ? config : unquantised(config);
  const model = modelOf(fresh ? scalarOf(held) : held, storage);
  const files = openWeights(directory);
  try {
    // What the files hold; the model may hold it otherwise.
    const { list: kept } = modelOf(fresh ? scalarOf(config) : config).parameters;
    const found = expectModel(files, directory, { list: kept, config }, fresh);
    const scores = fresh ? freshScores(model, score) : null;
    const values = ({ name }: Parameter) => {
      const tensors = found.get(name);
      if (!tensors) return scores!;
      const own = kept.find((one) => one.name === name)!;
      return isQuantised(own.tensor.dtype) ? unquantisedValues(own, readWords(own, tensors)) : valuesOf(tensors[0]!);
    };
    return {
      model,
      values,
      load(device) {
        const slab = new Slab(device, model.parameters);
        try {
          for (const [i, own] of model.parameters.list.entries()) {
            const tensors = found.get(own.name);
            if (!tensors) slab.write(own, scores!);
            else if (!isQuantised(kept[i]!.tensor.dtype)) readInto(slab, [own], tensors);
            else if (isQuantised(own.tensor.dtype)) slab.writeWords(own, readWords(own, tensors));
            else slab.write(own, values(own));
          }
          return slab;
        } catch (error) {
          slab[Symbol.dispose]();
          throw error;
        }
      },
      [Symbol.dispose]: () => files[Symbol.dispose](),
    };
  } catch (error) {
    files[Symbol.dispose]();
    throw error;
  }
}

/** The same trunk with a scalar head; a language head with a table of its own goes. */
export function scalarOf({ tied: _, ...config }: ModelConfig): ModelConfig {
  return { ...config, scalar: true };
}

function freshScores({ parameters }: Model, seed: number): Float32Array {
  const { offset, size } = parameter(parameters, SCORE);
  return initialise(parameters, seed).subarray(offset, offset + size);
}

/** Loads a model directory that `writeModel` wrote into weights of its layout. */
export function readModel(directory: string, { config }: Model, weights: Slab): void {
  readSlab(join(directory, "model.safetensors"), weights, namesOf(config));
}

/**
 * Where each weight stands, a quantised one in several tensors; nothing that such a model does not have may stand beside them.
 * `config`: that of the files.
 */
function expectModel(
  files: WeightsFiles,
  directory: string,
  { list, config }: Pick<Parameters, "list"> & Pick<Model, "config">,
  freshScore: boolean,
): ReadonlyMap<string, readonly StoredTensor[]> {
  const { files: quirks, embedding } = architectureOf(config.type, directory);
  const names = namesOf(config);
  const wanted = list.filter(({ name }) => !(freshScore && name === SCORE));
  const found = new Map(
    wanted.map((parameter) => [
      parameter.name,
      isQuantised(parameter.tensor.dtype)
        ? expectParts(files, directory, parameter, names)
        : expectTensors(files.tensors, directory, [parameter], names),
    ]),
  );
  const known = new Set([...found.values()].flat().map(({ info }) => info.name));
  for (const [name, stored] of files.tensors) {
    if (known.has(name) || quirks.passedOver.test(name)) continue;
    const table = found.get(embedding)!;
    if (name === HEAD_WEIGHT && config.tied !== false && table.length === 1)
      expectTied(stored, table[0]!, embedding, directory);
    else if (name !== HEAD_WEIGHT || !freshScore)
      throw new UserError(
        `${directory} has a tensor ${name} [${stored.info.shape}] that a model of type ${config.type} does not have`,
        { hint: OTHER_MODEL },
      );
  }
  return found;
}

/** A head that is stored although the config ties it to the embedding must be the embedding. */
function expectTied(head: StoredTensor, embedding: StoredTensor, name: string, directory: string): void {
  const differs = () =>
    new UserError(`${directory}: lm_head.weight differs from ${name}, and config.json ties them`, {
      hint: 'set "tie_word_embeddings": false in config.json if the head is its own',
    });
  if (head.info.shape.join() !== embedding.info.shape.join()) throw differs();
  const other = new Float32Array(PART);
  for (const [part, first] of partsOf(embedding)) {
    const same = other.subarray(0, part.length);
    head.file.read(head.info, same, first);
    if (part.some((v, i) => !Object.is(v, same[i]))) throw differs();
  }
}

/** Writes config.json and model.safetensors into an existing directory. */
export async function writeModel(directory: string, model: Model, weights: Slab, tokens: SpecialTokens): Promise<void> {
  writeSafetensors(join(directory, "model.safetensors"), namedValues(weights, namesOf(model.config)));
  await writeConfig(directory, model, tokens);
}

/** The same from open files, one tensor at a time. `words`: of those that the model holds quantised. */
export async function copyModel(
  directory: string,
  {
    model,
    values,
    words,
  }: Pick<StoredModel, "model" | "values"> & { readonly words?: (parameter: Parameter) => Uint32Array },
  tokens: SpecialTokens,
): Promise<void> {
  const names = namesOf(model.config);
  const tensors = model.parameters.list.flatMap((parameter): NamedValues[] =>
    isQuantised(parameter.tensor.dtype)
      ? namedParts(parameter, names, () => words!(parameter))
      : [{ name: names(parameter.name)[0], shape: parameter.shape, values: () => values(parameter) }],
  );
  await patiently(safetensorsWriting(join(directory, "model.safetensors"), tensors));
  await writeConfig(directory, model, tokens);
}

async function writeConfig(directory: string, { config }: Model, tokens: SpecialTokens): Promise<void> {
  const json = architectureOf(config.type, "model").toJson(config, tokens);
  const all = { ...json, ...quantizationConfig(config) };
  await Bun.write(join(directory, "config.json"), `${JSON.stringify(all, null, 2)}\n`);
}
