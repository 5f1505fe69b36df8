/** A model directory as Hugging Face lays it out: config.json, model.safetensors, and the tokenizer's files beside them. */
import { join } from "node:path";
import { codeOf, messageOf, UserError } from "../errors";
import { type Gpt2, type Gpt2Config, gpt2 } from "./gpt2";
import type { Parameters } from "./parameters";
import {
  type NamedValues,
  openSafetensors,
  type SafetensorsFile,
  type TensorInfo,
  writeSafetensors,
} from "./safetensors";

/** transformers writes GPT-2's tensors with this prefix; OpenAI's own files have none. */
const PREFIX = "transformer.";

/** config.json of a GPT-2, with every key that transformers reads. */
export function huggingFaceConfig(config: Gpt2Config, endOfText: number | null): Record<string, unknown> {
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
    tie_word_embeddings: true,
    torch_dtype: "float32",
    vocab_size: config.vocabulary,
  };
}

/** Reads config.json. Refuses, by name, what this GPT-2 does not do. */
export async function readConfig(directory: string): Promise<Gpt2Config> {
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
  refuse("tie_word_embeddings", [true]);
  const whole = (key: string) => {
    const value = json[key];
    if (typeof value === "number" && Number.isSafeInteger(value) && value > 0 && value < 2 ** 24) return value;
    throw new UserError(`${path}: ${key} is ${JSON.stringify(value)}, expected a positive whole number`);
  };
  const width = whole("n_embd");
  refuse("n_inner", [null, 4 * width]);
  const config = {
    vocabulary: whole("vocab_size"),
    context: whole("n_positions"),
    layers: whole("n_layer"),
    heads: whole("n_head"),
    width,
    epsilon: typeof json.layer_norm_epsilon === "number" ? json.layer_norm_epsilon : 1e-5,
  };
  checkHeads(config, path);
  return config;
}

/** Heads must share the width out, in vec4s. */
export function checkHeads({ width, heads }: Pick<Gpt2Config, "width" | "heads">, where: string): void {
  if (width % (4 * heads) === 0) return;
  throw new UserError(`${where}: width ${width} is not a multiple of 4 times ${heads} heads`, {
    hint: `use a width such as ${Math.max(1, Math.round(width / 4 / heads)) * 4 * heads}`,
    exitCode: 2,
  });
}

export interface LoadedModel {
  readonly model: Gpt2;
  /** The weights' slab. */
  readonly values: Float32Array;
}

/** Reads a model directory whole, checking every tensor's shape before any is read. */
export async function loadModel(directory: string): Promise<LoadedModel> {
  const model = gpt2(await readConfig(directory));
  return { model, values: readSlab(join(directory, "model.safetensors"), model.parameters) };
}

/** One slab's values from a file with a tensor for each parameter, named with or without `prefix`. */
export function readSlab(path: string, parameters: Parameters, prefix = PREFIX): Float32Array {
  using file = openSafetensors(path);
  const found = expectTensors(file, path, parameters, prefix);
  const values = new Float32Array(parameters.size);
  parameters.list.forEach(({ offset, size }, i) => {
    file.read(found[i]!, values.subarray(offset, offset + size));
  });
  return values;
}

/** Throws where a file's header is not that of these parameters. Reads no values. */
export function checkSlab(path: string, parameters: Parameters): void {
  using file = openSafetensors(path);
  expectTensors(file, path, parameters, PREFIX);
}

/** Where each parameter stands in the file. */
function expectTensors(file: SafetensorsFile, path: string, parameters: Parameters, prefix: string): TensorInfo[] {
  return parameters.list.map((p) => {
    const info = file.tensors.get(prefix + p.name) ?? file.tensors.get(p.name);
    if (!info)
      throw new UserError(`${path} has no tensor ${p.name}`, { hint: "its config.json describes another model" });
    if (info.shape.join() !== p.shape.join()) {
      throw new UserError(`${path}: ${p.name} has shape [${info.shape}], expected [${p.shape}]`, {
        hint: "the checkpoint is of another model",
      });
    }
    return info;
  });
}

/** A slab as named tensors, for writing. */
export function namedValues(parameters: Parameters, slab: Float32Array, prefix = PREFIX): NamedValues[] {
  return parameters.list.map(({ name, shape, offset, size }) => ({
    name: prefix + name,
    shape,
    values: slab.subarray(offset, offset + size),
  }));
}

/** Writes config.json and model.safetensors into an existing directory. */
export async function writeModel(
  directory: string,
  model: Gpt2,
  values: Float32Array,
  endOfText: number | null,
): Promise<void> {
  writeSafetensors(join(directory, "model.safetensors"), namedValues(model.parameters, values));
  await Bun.write(
    join(directory, "config.json"),
    `${JSON.stringify(huggingFaceConfig(model.config, endOfText), null, 2)}\n`,
  );
}
