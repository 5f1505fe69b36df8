/**
 * Adapters as PEFT keeps them: adapter_config.json, adapter_model.safetensors, README.md.
 * https://huggingface.co/docs/peft/developer_guides/checkpoint
 */
import { join } from "node:path";
import { z } from "zod";
import type { Device } from "../device/device";
import { UserError } from "../errors";
import { readJson } from "../files";
import { HEAD, type Module } from "../model/architecture";
import { type Adapter, type AdapterValues, adapterOf, type LoraSettings } from "../model/lora";
import type { Model } from "../model/model";
import { parameter, type Storage, storages } from "../model/parameters";
import type { Slab } from "../model/slab";

import { openSafetensors, type SafetensorsFile, writeSafetensors } from "./safetensors";
import { asNamed, expectTensors, loadSlab, readInto, valuesOf } from "./slabs";
import type { StoredTensor } from "./weights-files";

export const ADAPTER_CONFIG = "adapter_config.json";
const WEIGHTS = "adapter_model.safetensors";
/** With an adapter for the head PEFT saves the base's table once more. */
const TIED = `${HEAD}.base_layer.weight`;
const PREFIX = /^base_model\.model\.(transformer\.)?/;

/** What is read of adapter_config.json. What would change the result and is not done here must be at its default. */
const fileSchema = z.object({
  peft_type: z.literal("LORA"),
  base_model_name_or_path: z.string().nullish(),
  r: z.int().min(1).default(8),
  lora_alpha: z.number().default(8),
  lora_dropout: z.number().min(0).lt(1).default(0),
  use_rslora: z.boolean().default(false),
  use_dora: z.boolean().default(false),
  bias: z.literal("none").default("none"),
  modules_to_save: z.union([z.null(), z.array(z.never())]).default(null),
  alpha_pattern: z.record(z.string(), z.never()).nullish(),
  layer_replication: z.null().default(null),
  trainable_token_indices: z.null().default(null),
  // Others change the base's weights, which an adapter's file does not say.
  init_lora_weights: z.union([z.boolean(), z.enum(["gaussian", "eva", "orthogonal"])]).default(true),
  lora_bias: z.literal(false).default(false),
  use_qalora: z.literal(false).default(false),
  use_bdlora: z.union([z.literal(false), z.null()]).default(null),
  alora_invocation_tokens: z.null().default(null),
  target_parameters: z.null().default(null),
});

export interface AdapterConfig {
  /** A Hub name or a path. */
  readonly base: string | null;
  readonly settings: LoraSettings;
}

export function readAdapterConfig(directory: string): AdapterConfig {
  const path = join(directory, ADAPTER_CONFIG);
  const hint = "only LoRA adapters of linear layers, as PEFT directories, are read";
  const { r, lora_alpha, lora_dropout, use_rslora, use_dora, base_model_name_or_path } = readJson(
    path,
    fileSchema,
    hint,
  );
  return {
    base: base_model_name_or_path ?? null,
    settings: { rank: r, alpha: lora_alpha, dropout: lora_dropout, rslora: use_rslora, dora: use_dora },
  };
}

/** An adapter's files, checked against the model and open. */
export interface StoredAdapter extends AdapterValues, Disposable {
  readonly base: string | null;
  /** How the base was stored while the adapter was trained. */
  readonly trainedOn: Storage;
  load(device: Device): Slab;
}

/** Opens an adapter for a model. Throws a UserError where it is for another. */
export function openAdapter(directory: string, { modules }: Pick<Model, "modules">): StoredAdapter {
  const { base, settings } = readAdapterConfig(directory);
  const path = join(directory, WEIGHTS);
  const file = openSafetensors(path);
  try {
    const stored = new Map(
      [...file.tensors].map(([name, info]) => [name.replace(PREFIX, ""), { info, file }] as const),
    );
    const adapter = adapterOf(adaptedModules(stored, modules, path), settings);
    const found = expectTensors(stored, path, adapter.parameters.list, asNamed, "the adapter is for another model");
    const known = new Set(adapter.parameters.list.map(({ name }) => name));
    const extra = [...stored.keys()].find((name) => !known.has(name) && name !== TIED);
    if (extra) throw new UserError(`${path} has ${extra}, which is not part of a LoRA adapter of linear layers`);
    return {
      base,
      adapter,
      trainedOn: storageOf(file),
      values: (name) => valuesOf(found[adapter.parameters.list.indexOf(parameter(adapter.parameters, name))]!),
      load: (device) => loadSlab(device, adapter.parameters, found),
      [Symbol.dispose]: () => file[Symbol.dispose](),
    };
  } catch (error) {
    file[Symbol.dispose]();
    throw error;
  }
}

/** How an adapter's base was stored while it was trained. */
export function trainedOn(directory: string): Storage {
  using file = openSafetensors(join(directory, WEIGHTS));
  return storageOf(file);
}

/** The hash of the weights that an adapter was trained on, or null where it does not say. */
export function baseHashOf(directory: string): string | null {
  using file = openSafetensors(join(directory, WEIGHTS));
  return file.metadata.base_hash ?? null;
}

/** Kept in the file's metadata: PEFT has no place for it. */
function storageOf({ metadata }: SafetensorsFile): Storage {
  return storages.find((storage) => storage === metadata.trained_on) ?? "f32";
}

/** The layers that the file has matrices for, each with its rank. */
function adaptedModules(
  stored: ReadonlyMap<string, { readonly info: { readonly shape: readonly number[] } }>,
  known: readonly Module[],
  path: string,
): (Module & { readonly rank: number })[] {
  const end = ".lora_A.weight";
  const names = [...stored.keys()].filter((name) => name.endsWith(end)).map((name) => name.slice(0, -end.length));
  const strange = names.find((name) => !known.some((module) => module.name === name));
  if (strange)
    throw new UserError(`${path} adapts ${strange}, which the model does not have`, {
      hint: "the adapter is for another model",
    });
  if (names.length === 0) throw new UserError(`${path} has no lora_A matrices`);
  return known
    .filter(({ name }) => names.includes(name))
    .map((module) => ({ ...module, rank: stored.get(module.name + end)!.info.shape[0]! }));
}

export interface AdapterToWrite {
  readonly adapter: Adapter;
  readonly weights: Slab;
  /** The base model: a Hub name, or a path. */
  readonly base: string;
  readonly trainedOn: Storage;
  /** Of the base's weights, where they are files that may change; see `weightsHash`. */
  readonly baseHash?: string | undefined;
}

/** Writes a PEFT directory's three files into an existing folder. */
export async function writeAdapter(directory: string, { adapter, weights, base, trainedOn, baseHash }: AdapterToWrite) {
  const tensors = adapter.parameters.list.map((p) => ({
    name: `base_model.model.${p.name.startsWith(`${HEAD}.`) ? "" : "transformer."}${p.name}`,
    shape: p.shape,
    values: () => weights.read(p),
  }));
  writeSafetensors(join(directory, WEIGHTS), tensors, {
    format: "pt",
    trained_on: trainedOn,
    ...(baseHash !== undefined && { base_hash: baseHash }),
  });
  await Bun.write(join(directory, ADAPTER_CONFIG), `${JSON.stringify(configOf(adapter, base), null, 2)}\n`);
  await Bun.write(join(directory, "README.md"), cardOf(adapter, base));
}

/** Loads an adapter's weights back into a slab of its layout. */
export function readAdapter(directory: string, weights: Slab): void {
  const path = join(directory, WEIGHTS);
  using file: SafetensorsFile = openSafetensors(path);
  const stored = new Map<string, StoredTensor>(
    [...file.tensors].map(([name, info]) => [name.replace(PREFIX, ""), { info, file }]),
  );
  readInto(weights, weights.parameters.list, expectTensors(stored, path, weights.parameters.list, asNamed));
}

function configOf({ settings, ranks }: Adapter, base: string): Record<string, unknown> {
  return {
    alpha_pattern: {},
    auto_mapping: null,
    base_model_name_or_path: base,
    bias: "none",
    fan_in_fan_out: true,
    inference_mode: true,
    init_lora_weights: true,
    layer_replication: null,
    layers_pattern: null,
    layers_to_transform: null,
    loftq_config: {},
    lora_alpha: settings.alpha,
    lora_dropout: settings.dropout,
    megatron_config: null,
    megatron_core: "megatron.core",
    modules_to_save: null,
    peft_type: "LORA",
    r: settings.rank,
    rank_pattern: {},
    revision: null,
    target_modules: [...ranks.keys()],
    task_type: "CAUSAL_LM",
    use_dora: settings.dora,
    use_rslora: settings.rslora,
  };
}

function cardOf({ settings, ranks }: Adapter, base: string): string {
  const kind = settings.dora ? "DoRA" : "LoRA";
  return [
    "---",
    `base_model: ${base}`,
    "library_name: peft",
    "---",
    "",
    `${kind} adapter of rank ${settings.rank} for ${ranks.size} layers of ${base}, trained by dawngrad.`,
    "",
  ].join("\n");
}
