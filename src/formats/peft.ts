/**
 * Adapters as PEFT keeps them: adapter_config.json, adapter_model.safetensors, README.md.
 * https://huggingface.co/docs/peft/developer_guides/checkpoint
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import type { Device } from "../device/device";
import { UserError } from "../errors";
import { HEAD, SCORE } from "../model/architecture";
import { type Adapter, type AdapterValues, adapterOf } from "../model/lora";
import type { Model } from "../model/model";
import { parameter, type Storage, storages } from "../model/parameters";
import type { Slab } from "../model/slab";
import { ADAPTER_CONFIG, adaptedModules, readAdapterConfig, SAVED_WHOLE } from "./peft-config";
import { openSafetensors, type SafetensorsFile, writeSafetensors } from "./safetensors";
import { asNamed, expectTensors, loadSlab, readInto, valuesOf } from "./slabs";
import type { StoredTensor } from "./weights-files";

const WEIGHTS = "adapter_model.safetensors";
/** With an adapter for the head PEFT saves the base's table once more. */
const TIED = `${HEAD}.base_layer.weight`;
const PREFIX = /^base_model\.model\.(transformer\.)?/;

/** An adapter's files, checked against the model and open. */
export interface StoredAdapter extends AdapterValues, Disposable {
  readonly base: string | null;
  /** How the base was stored while the adapter was trained. */
  readonly trainedOn: Storage;
  load(device: Device): Slab;
}

/** Opens an adapter for a model. Throws a UserError where it is for another. */
export function openAdapter(directory: string, { modules }: Pick<Model, "modules">): StoredAdapter {
  const config = readAdapterConfig(directory);
  const { base, settings } = config;
  const path = join(directory, WEIGHTS);
  const file = openFile(directory);
  try {
    const stored = storedIn(file);
    const head = stored.get(SCORE);
    const width = modules.find(({ name }) => name === HEAD)!.inputs;
    if (head && head.info.shape.join() !== `1,${width}`)
      throw new UserError(`${path}: ${SCORE} has shape [${head.info.shape}], expected [1, ${width}]`, {
        hint: "a scalar head gives one score and no classes, and is as wide as its model",
      });
    const score = head && width;
    const adapter = adapterOf(adaptedModules(stored, { modules, config, path }), settings, { score });
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
  using file = openFile(directory);
  return storageOf(file);
}

/** The hash of the weights that an adapter was trained on, or null where it does not say. */
export function baseHashOf(directory: string): string | null {
  using file = openFile(directory);
  return file.metadata.base_hash ?? null;
}

function openFile(directory: string): SafetensorsFile {
  const path = join(directory, WEIGHTS);
  if (!existsSync(path) && existsSync(join(directory, "adapter_model.bin")))
    throw new UserError(`${directory} has only adapter_model.bin, which runs code when it is read`, {
      hint: "load it with PEFT and save it by save_pretrained(..., safe_serialization=True)",
    });
  return openSafetensors(path);
}

function storedIn(file: SafetensorsFile): Map<string, StoredTensor> {
  const stored = new Map<string, StoredTensor>();
  for (const [name, info] of file.tensors) {
    const plain = name.replace(PREFIX, "");
    if (stored.has(plain)) throw new UserError(`an adapter's file has ${plain} twice: as ${name}, and as another`);
    stored.set(plain, { info, file });
  }
  return stored;
}

/** Kept in the file's metadata: PEFT has no place for it. */
function storageOf({ metadata }: SafetensorsFile): Storage {
  return storages.find((storage) => storage === metadata.trained_on) ?? "f32";
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
    name: `base_model.model.${p.name.startsWith(`${HEAD}.`) || p.name === SCORE ? "" : "transformer."}${p.name}`,
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
  using file = openFile(directory);
  const { list } = weights.parameters;
  readInto(weights, list, expectTensors(storedIn(file), join(directory, WEIGHTS), list, asNamed));
}

function configOf({ settings, ranks, scored }: Adapter, base: string): Record<string, unknown> {
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
    modules_to_save: scored ? [...SAVED_WHOLE] : null,
    peft_type: "LORA",
    r: settings.rank,
    rank_pattern: {},
    revision: null,
    target_modules: [...ranks.keys()],
    task_type: scored ? "SEQ_CLS" : "CAUSAL_LM",
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
