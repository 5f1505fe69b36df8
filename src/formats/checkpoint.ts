/** A model directory as Hugging Face lays it out: config.json, model.safetensors, and the tokenizer's files beside them. */
import { join } from "node:path";
import type { Device } from "../device/device";
import { codeOf, messageOf, UserError } from "../errors";
import { gpt2, type Model, type ModelConfig } from "../model/gpt2";
import type { Parameter, Parameters, Storage } from "../model/parameters";
import { Slab } from "../model/slab";
import { sizeOf } from "../tensor/shape";
import { isQuantised } from "../tensor/stored";
import { type NamedValues, openSafetensors, writeSafetensors } from "./safetensors";
import { openWeights, type StoredTensor, type WeightsFiles } from "./weights-files";

/** transformers writes GPT-2's tensors with this prefix; OpenAI's own files have none. */
const PREFIX = "transformer.";

/** config.json of a GPT-2, with every key that transformers reads. */
export function huggingFaceConfig(config: ModelConfig, endOfText: number | null): Record<string, unknown> {
  return {
    activation_function: "gelu_new",
    architectures: ["GPT2LMHeadModel"],
    attn_pdrop: 0,
    bos_token_id: endOfText,
    embd_pdrop: 0,
    eos_token_id: endOfText,
    initializer_range: 0.02,
    layer_norm_epsilon: config.epsilon,
    model_type: "gpt2",
    n_ctx: config.context,
    n_embd: config.width,
    n_head: config.heads,
    n_inner: null,
    n_layer: config.layers,
    n_positions: config.context,
    resid_pdrop: 0,
    scale_attn_weights: true,
    tie_word_embeddings: config.tied !== false,
    torch_dtype: "float32",
    vocab_size: config.vocabulary,
  };
}

/** Reads config.json. Refuses, by name, what this GPT-2 does not do. */
export async function readConfig(directory: string): Promise<ModelConfig> {
  const path = join(directory, "config.json");
  let json: Record<string, unknown>;
  try {
    json = JSON.parse(await Bun.file(path).text());
  } catch (error) {
    if (codeOf(error) === "ENOENT" || codeOf(error) === "ENOTDIR") {
      throw new UserError(`no model at ${directory}: it has no config.json`, {
        hint: "give a run folder, a checkpoint, or a model directory",
      });
    }
    throw new UserError(`${path} cannot be read: ${messageOf(error)}`, { hint: "the file may be truncated" });
  }
  if (json?.model_type !== "gpt2")
    throw new UserError(`${path}: model_type is ${JSON.stringify(json?.model_type)}, only "gpt2" is supported`);
  const refuse = (key: string, allowed: readonly unknown[]) => {
    if (json[key] !== undefined && !allowed.includes(json[key])) {
      throw new UserError(
        `${path}: ${key} is ${JSON.stringify(json[key])}, supported: ${allowed.map((v) => JSON.stringify(v)).join(", ")}`,
      );
    }
  };
  refuse("activation_function", ["gelu_new", "gelu_pytorch_tanh"]);
  refuse("scale_attn_weights", [true]);
  refuse("scale_attn_by_inverse_layer_idx", [false]);
  refuse("tie_word_embeddings", [true, false]);
  const whole = (key: string) => {
    const value = json[key];
    if (typeof value === "number" && Number.isSafeInteger(value) && value > 0 && value < 2 ** 24) return value;
    throw new UserError(`${path}: ${key} is ${JSON.stringify(value)}, expected a positive whole number`);
  };
  const width = whole("n_embd");
  refuse("n_inner", [null, 4 * width]);
  const config = {
    vocabulary: whole("vocab_size"),
    context: whole(json.n_positions === undefined ? "n_ctx" : "n_positions"),
    layers: whole("n_layer"),
    heads: whole("n_head"),
    width,
    epsilon: typeof json.layer_norm_epsilon === "number" ? json.layer_norm_epsilon : 1e-5,
    ...(json.tie_word_embeddings === false && { tied: false }),
  };
  checkHeads(config, path);
  return config;
}

/** Heads must share the width out, in vec4s. */
export function checkHeads({ width, heads }: Pick<ModelConfig, "width" | "heads">, where: string): void {
  if (width % (4 * heads) === 0) return;
  throw new UserError(`${where}: width ${width} is not a multiple of 4 times ${heads} heads`, {
    hint: `use a width such as ${Math.max(1, Math.round(width / 4 / heads)) * 4 * heads}`,
    exitCode: 2,
  });
}

/** Loads a model directory onto the device, tensor by tensor: every tensor's shape is checked before any value is read. */
export async function loadModel(
  device: Device,
  directory: string,
  storage: Storage = "f32",
): Promise<{ model: Model; weights: Slab }> {
  using stored = await openModelFiles(directory, storage);
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
  values(parameter: Parameter): Float32Array;
  /** All of them, onto the device. */
  load(device: Device): Slab;
}

/** Throws where a model directory's tensors are not those of its config. Reads no values. */
export async function openModelFiles(directory: string, storage: Storage = "f32"): Promise<StoredModel> {
  const model = gpt2(await readConfig(directory), storage);
  const files = openWeights(directory);
  try {
    const found = expectModel(files, directory, model);
    return {
      model,
      values: (parameter) => valuesOf(found[model.parameters.list.indexOf(parameter)]!),
      load: (device) => loadSlab(device, model.parameters, found),
      [Symbol.dispose]: () => files[Symbol.dispose](),
    };
  } catch (error) {
    files[Symbol.dispose]();
    throw error;
  }
}

/** A whole tensor. NaN and infinity are refused by name. */
export function valuesOf({ info, file }: StoredTensor): Float32Array {
  const values = new Float32Array(sizeOf(info.shape));
  file.read(info, values);
  expectFinite(values, info.name);
  return values;
}

/** Loads a model directory that `writeModel` wrote into weights of its layout. */
export function readModel(directory: string, weights: Slab): void {
  readSlab(join(directory, "model.safetensors"), weights);
}

/** Loads a slab from one file, such as an optimizer's moments. */
export function readSlab(path: string, slab: Slab, prefix = PREFIX): void {
  using file = openSafetensors(path);
  const stored = new Map([...file.tensors].map(([name, info]) => [name, { info, file }]));
  readInto(slab, expectTensors(stored, path, slab.parameters, prefix));
}

/** Where each parameter stands; nothing that a GPT-2 does not have may stand beside them. */
function expectModel(files: WeightsFiles, directory: string, { parameters, config }: Model): StoredTensor[] {
  const found = expectTensors(files.tensors, directory, parameters, PREFIX);
  const known = new Set(found.map(({ info }) => info.name));
  for (const [name, stored] of files.tensors) {
    if (known.has(name) || MASKS.test(name)) continue;
    const { shape } = stored.info;
    if (name === HEAD && config.tied !== false) expectTied(stored, found, parameters, directory);
    else
      throw new UserError(`${directory} has a tensor ${name} [${shape}] that a GPT-2 does not have`, { hint: OTHER });
  }
  return found;
}

const OTHER = "the checkpoint is of another model";
const HEAD = "lm_head.weight";
/** Causal masks, which older versions of transformers kept as tensors. */
const MASKS = /^(transformer\.)?h\.\d+\.attn\.(bias|masked_bias)$/;

/** A head that is stored although the config ties it to the embedding must be the embedding. */
function expectTied(head: StoredTensor, found: readonly StoredTensor[], { list }: Parameters, directory: string): void {
  const embedding = found[list.findIndex(({ name }) => name === "wte.weight")]!;
  const differs = () =>
    new UserError(`${directory}: lm_head.weight differs from wte.weight, and config.json ties them`, {
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

/** Where each parameter stands in the files. */
export function expectTensors(
  stored: ReadonlyMap<string, StoredTensor>,
  where: string,
  parameters: Parameters,
  prefix: string,
  other = OTHER,
): StoredTensor[] {
  return parameters.list.map((p) => {
    const found = stored.get(prefix + p.name) ?? stored.get(p.name);
    if (!found) {
      throw new UserError(`${where} has no tensor ${p.name} [${p.shape}]`, {
        hint: "its config.json describes another model",
      });
    }
    const { shape } = found.info;
    if (shape.join() !== p.shape.join()) {
      const turned = shape.toReversed().join() === p.shape.join();
      throw new UserError(`${where}: ${p.name} has shape [${shape}], expected [${p.shape}]`, {
        hint: turned ? "its linear layers are stored [out, in]; GPT-2's are [in, out]" : other,
      });
    }
    return found;
  });
}

/** Elements that are read at a time. */
const PART = 1 << 20;

/** The tensor's values part by part, in an array that is used again. */
function* partsOf({ info, file }: StoredTensor, most = PART): Generator<[part: Float32Array, first: number]> {
  const size = sizeOf(info.shape);
  const buffer = new Float32Array(Math.min(most, size));
  for (let first = 0; first < size; first += most) {
    const part = buffer.subarray(0, Math.min(most, size - first));
    file.read(info, part, first);
    yield [part, first];
  }
}

/** A slab with these tensors' values in it. */
export function loadSlab(device: Device, parameters: Parameters, found: readonly StoredTensor[]): Slab {
  const slab = new Slab(device, parameters);
  try {
    readInto(slab, found);
  } catch (error) {
    slab[Symbol.dispose]();
    throw error;
  }
  return slab;
}

/** Puts tensors where the slab wants them. NaN and infinity are refused by name. */
export function readInto(slab: Slab, found: readonly StoredTensor[]): void {
  slab.parameters.list.forEach((parameter, i) => {
    const quantised = isQuantised(parameter.tensor.dtype);
    for (const [part, first] of partsOf(found[i]!, quantised ? parameter.size : PART)) {
      expectFinite(part, found[i]!.info.name, first);
      slab.write(parameter, part, first);
    }
  });
}

function expectFinite(values: Float32Array, name: string, first = 0): void {
  const bad = values.findIndex((v) => !Number.isFinite(v));
  if (bad < 0) return;
  throw new UserError(`${name} has ${values[bad]} at element ${first + bad}`, {
    hint: "the checkpoint was saved after training had failed, or is damaged",
  });
}

/** A slab as named tensors, for writing. Values are fetched from the device when their turn comes. */
export function namedValues(slab: Slab, prefix = PREFIX): NamedValues[] {
  return slab.parameters.list.map((parameter) => ({
    name: storedName(parameter.name, prefix),
    shape: parameter.shape,
    values: () => slab.read(parameter),
  }));
}

/** Writes config.json and model.safetensors into an existing directory. */
export async function writeModel(
  directory: string,
  model: Model,
  weights: Slab,
  endOfText: number | null,
): Promise<void> {
  writeSafetensors(join(directory, "model.safetensors"), namedValues(weights));
  await writeConfig(directory, model, endOfText);
}

/** The same from open files, one tensor at a time. */
export async function copyModel(
  directory: string,
  { model, values }: Pick<StoredModel, "model" | "values">,
  endOfText: number | null,
): Promise<void> {
  const tensors = model.parameters.list.map((parameter) => ({
    name: storedName(parameter.name, PREFIX),
    shape: parameter.shape,
    values: () => values(parameter),
  }));
  writeSafetensors(join(directory, "model.safetensors"), tensors);
  await writeConfig(directory, model, endOfText);
}

/** The head is not part of the transformer. */
function storedName(name: string, prefix: string): string {
  return name === HEAD ? name : prefix + name;
}

async function writeConfig(directory: string, model: Model, endOfText: number | null): Promise<void> {
  await Bun.write(
    join(directory, "config.json"),
    `${JSON.stringify(huggingFaceConfig(model.config, endOfText), null, 2)}\n`,
  );
}
