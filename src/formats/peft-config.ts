/** adapter_config.json: what PEFT says of an adapter, what of that is not done here, and which layers it must have matrices for. */
import { join } from "node:path";
import { z } from "zod";
import { shown, UserError } from "../errors";
import { readJson } from "../files";
import { HEAD, type Module } from "../model/architecture";
import type { LoraSettings } from "../model/lora";

export const ADAPTER_CONFIG = "adapter_config.json";

/** Features that change what an adapter does and are not done here, with the values by which they do not. */
const unsupported: ReadonlyMap<string, readonly unknown[]> = new Map([
  ["bias", ["none"]],
  ["revision", ["main"]],
  ["alpha_pattern", []],
  ["layer_replication", []],
  ["trainable_token_indices", []],
  // Others change the base's weights, which an adapter's file does not say.
  ["init_lora_weights", [true, false, "gaussian", "eva", "orthogonal"]],
  ["lora_bias", [false]],
  ["use_qalora", [false]],
  ["use_bdlora", [false]],
  ["alora_invocation_tokens", []],
  ["target_parameters", []],
  ["arrow_config", []],
  ["kasa_config", []],
  ["monteclora_config", []],
  ["velora_config", []],
]);

function isOff(value: unknown, values: readonly unknown[]): boolean {
  const empty = typeof value === "object" && Object.keys(value ?? {}).length === 0;
  return value === undefined || empty || values.includes(value);
}

/** What PEFT names of a sequence classifier that is saved beside the matrices: each model has one of them, and GPT-2 its scalar head. */
export const SAVED_WHOLE: readonly string[] = ["classifier", "score"];

/** Far beyond it what the matrices add is past float32. */
const MOST_ALPHA = 1e6;
const names = z.union([z.string(), z.array(z.string())]).nullish();

/** What is read of it. Others of its keys say how it was trained. */
const schema = z
  .looseObject({
    peft_type: z.string(),
    base_model_name_or_path: z.string().nullish(),
    r: z.int().min(1).default(8),
    rank_pattern: z.record(z.string(), z.int().min(1)).nullish(),
    lora_alpha: z.number().gt(0).max(MOST_ALPHA).default(8),
    lora_dropout: z.number().min(0).lt(1).default(0),
    use_rslora: z.boolean().default(false),
    use_dora: z.boolean().default(false),
    target_modules: names,
    exclude_modules: names,
    modules_to_save: z.array(z.string()).nullish(),
    layers_to_transform: z.union([z.int().min(0), z.array(z.int().min(0))]).nullish(),
  })
  .superRefine((json, context) => {
    const say = (message: string) => context.addIssue({ code: "custom", message });
    if (json.peft_type !== "LORA") say(`peft_type ${shown(json.peft_type)} is not supported, only LORA is`);
    const whole = json.modules_to_save ?? [];
    if (whole.some((name) => !SAVED_WHOLE.includes(name)))
      say(`modules_to_save is not supported: it is ${shown(whole)}, and only score, the scalar head, is`);
    for (const [key, values] of unsupported)
      if (!isOff(json[key], values)) say(`${key} is not supported: it is ${shown(json[key])}`);
  });

export interface AdapterConfig {
  /** A Hub name or a path. */
  readonly base: string | null;
  readonly settings: LoraSettings;
  /** The layers that it says are adapted, by the ends of their names, where it lists them. */
  readonly targets: readonly string[];
  /** Whether it says that this layer is adapted; null where it leaves that open. */
  says(module: string): boolean | null;
  /** The rank that it says this layer's matrices have; null where it leaves that open. */
  rankOf(module: string): number | null;
}

export function readAdapterConfig(directory: string): AdapterConfig {
  const path = join(directory, ADAPTER_CONFIG);
  const json = readJson(path, schema, "only LoRA adapters of linear layers, as PEFT directories, are read");
  const { target_modules: wanted, exclude_modules: excluded } = json;
  const layers = [json.layers_to_transform ?? []].flat();
  return {
    base: json.base_model_name_or_path ?? null,
    settings: {
      rank: json.r,
      alpha: json.lora_alpha,
      dropout: json.lora_dropout,
      rslora: json.use_rslora,
      dora: json.use_dora,
    },
    targets: Array.isArray(wanted) ? wanted : [],
    says(name) {
      if (wanted == null) return null;
      const out = excluded?.length ? named(excluded, name, path) : false;
      if (out !== false) return out === null ? null : false;
      if (wanted === "all-linear") return name !== HEAD;
      const layer = Number(name.match(/\.(\d+)\./)?.[1]);
      if (layers.length && Array.isArray(wanted) && !layers.includes(layer)) return false;
      return named(wanted, name, path);
    },
    rankOf(name) {
      const patterns = Object.entries(json.rank_pattern ?? {});
      for (const [pattern, rank] of patterns) {
        const match = matches(pattern, name, path, "(?:.*\\.)?");
        if (match !== false) return match && rank;
      }
      return json.r;
    },
  };
}

/** Whether a list names a layer by the end of its name, or an expression by the whole; null where that is not found out. */
function named(list: string | readonly string[], name: string, path: string): boolean | null {
  return typeof list === "string" ? matches(list, name, path) : list.some((end) => endsIn(name, end));
}

/** Whether `end` is the last part of a layer's name. */
export function endsIn(name: string, end: string): boolean {
  return `.transformer.${name}`.endsWith(`.${end}`);
}

/** Choices that an expression may have: a search with many, or within what is repeated as a whole, may take years. */
const MOST_CHOICES = 5;

function isCostly(pattern: string): boolean {
  return /\)[*+{]/.test(pattern) || (pattern.match(/[*+{|]|(?<!\()\?/g)?.length ?? 0) > MOST_CHOICES;
}

/** Whether an expression of Python's is for a layer's whole name, which PEFT has with `transformer` or without; null where it is costly. */
function matches(pattern: string, name: string, path: string, before = ""): boolean | null {
  if (isCostly(pattern)) return null;
  const [, anyCase = "", rest = ""] = pattern.match(/^((?:\(\?i\))?)(.*)$/s)!;
  const plain = rest.replaceAll("(?P<", "(?<").replaceAll("\\A", "^").replaceAll("\\Z", "$");
  try {
    const expression = new RegExp(`^${before}(?:${plain})$`, anyCase ? "i" : "");
    return expression.test(`transformer.${name}`) || expression.test(name);
  } catch (cause) {
    throw new UserError(`${path}: ${shown(pattern)} is no expression that can be read`, { cause });
  }
}

export interface ForModel {
  readonly modules: readonly Module[];
  readonly config: AdapterConfig;
  /** The file with the matrices. */
  readonly path: string;
}

type Shapes = ReadonlyMap<string, { readonly info: { readonly shape: readonly number[] } }>;

const FIRST = ".lora_A.weight";

/** The layers that the file has matrices for, each with its rank. They must be those of the model that the config names. */
export function adaptedModules(stored: Shapes, { modules, config, path }: ForModel): (Module & { rank: number })[] {
  const other = "the adapter is for another model";
  const named = [...stored.keys()].find((name) => /\.lora_[AB]\.[^.]+\.weight$/.test(name));
  if (named)
    throw new UserError(`${path} has ${named}, with the adapter's name in it`, {
      hint: "it was saved as a state_dict: save it by PEFT's save_pretrained, which leaves the name out",
    });
  const found = [...stored.keys()].filter((name) => name.endsWith(FIRST)).map((name) => name.slice(0, -FIRST.length));
  const strange = found.find((name) => !modules.some((module) => module.name === name));
  const [has, wants] = [depthOf(modules.map(({ name }) => name)), depthOf(found)];
  if (strange) {
    const deeper = wants > has ? `: it is for ${wants} layers, and the model has ${has}` : "";
    throw new UserError(`${path} adapts ${strange}, which the model does not have${deeper}`, { hint: other });
  }
  if (found.length === 0) throw new UserError(`${path} has no lora_A matrices`);
  const embedding = [...stored.keys()].find((name) => name.includes(".lora_embedding_"));
  if (embedding) throw new UserError(`${path} adapts an embedding, which is not supported: it has ${embedding}`);
  // What is named may be left out again, by exclude_modules or by its layer.
  const absent = config.targets.find((end) => {
    const meant = modules.filter(({ name }) => endsIn(name, end));
    const without = meant.length > 0 && meant.every(({ name }) => config.says(name) === false);
    return !without && !found.some((name) => endsIn(name, end));
  });
  if (absent)
    throw new UserError(`${path} has no matrices for ${absent}, which target_modules in ${ADAPTER_CONFIG} names`);
  for (const { name } of modules) {
    const said = config.says(name);
    if (said === null || said === found.includes(name)) continue;
    if (!said) throw new UserError(`${path} adapts ${name}, which target_modules in ${ADAPTER_CONFIG} does not name`);
    const deeper = wants < has ? `: it is for ${wants} layers, and the model has ${has}` : "";
    throw new UserError(`${path} has no matrices for ${name}${deeper}`, { hint: other });
  }
  return modules
    .filter(({ name }) => found.includes(name))
    .map((module) => ({
      ...module,
      rank: rankOf(module.name, stored.get(module.name + FIRST)!.info.shape, config, path),
    }));
}

/** One more than the number of the last layer. */
function depthOf(names: readonly string[]): number {
  return 1 + Math.max(-1, ...names.map((name) => Number(name.match(/^h\.(\d+)\./)?.[1] ?? -1)));
}

function rankOf(name: string, shape: readonly number[], config: AdapterConfig, path: string): number {
  const [rank = 0] = shape;
  if (shape.length !== 2 || rank === 0)
    throw new UserError(`${path}: ${name}${FIRST} has shape [${shape}], expected [rank, inputs]`);
  const said = config.rankOf(name);
  if (said !== null && rank !== said)
    throw new UserError(`${path}: the matrices of ${name} have rank ${rank}, and ${ADAPTER_CONFIG} says ${said}`, {
      hint: "these files are not of one adapter",
    });
  return rank;
}
