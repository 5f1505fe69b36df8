/** Adapters made part of the weights: a model directory like any other. Works without a device, tensor by tensor. */

import { mkdir } from "node:fs/promises";
import { Program } from "../autograd/program";
import type { Device } from "../device/device";
import { UserError } from "../errors";
import { writeNew } from "../files";
import { copyModel, openModelFiles, readConfig, type StoredModel, scalarOf } from "../formats/checkpoint";
import { readNormalisation, writeNormalisation } from "../formats/normalisation";
import { openAdapter, type StoredAdapter } from "../formats/peft";
import { expectUsable } from "../formats/slabs";
import { HEAD, SCORE } from "../model/architecture";
import { narrowed, narrowedToF16, widened, widenedFromF16 } from "../model/half";
import { mergeInto } from "../model/lora";
import { type Model, modelOf } from "../model/model";
import { type Parameter, parameter, type Storage } from "../model/parameters";
import { dequantise, quantise } from "../model/quantised";
import { bindAll, type Slab } from "../model/slab";
import { isQuantised } from "../tensor/stored";
import { input } from "../tensor/tensor";
import { loadTokenizer, writeTokenizer } from "../text/tokenizer";
import { expectRows, expectStackable, type ModelParts } from "./model";

export interface Merged {
  readonly adapters: number;
  /** How the base was held while the adapters were trained: they are merged onto the numbers that it stood for then. */
  readonly trainedOn: Storage;
}

/** Merges a model's adapters into `out`, which appears when it is whole; `mark` may add to it before. */
export async function mergeModel(parts: ModelParts, out: string, mark?: (folder: string) => void): Promise<Merged> {
  if (parts.adapters.length === 0)
    throw new UserError(`${parts.base} has no adapter to merge`, {
      hint: "give an adapter's folder, or --adapter",
      exitCode: 2,
    });
  using base = await openModelFiles(parts.base, { storage: "f32" });
  const adapters: StoredAdapter[] = [];
  try {
    for (const directory of parts.adapters) adapters.push(openAdapter(directory, base.model));
    expectStackable(adapters);
    const trainedOn = storageOf(adapters, parts);
    // A base that is quantised in its files is those numbers already.
    const again = (await readConfig(parts.base)).quantised === trainedOn ? "f32" : trainedOn;
    const tokenizer = await loadTokenizer(parts.tokenizer);
    expectRows(base.model, tokenizer, parts.tokenizer);
    await writeNew(out, async (temporary) => {
      await mkdir(temporary);
      await copyModel(temporary, mergedModel(base, adapters, again), tokenizer);
      await writeTokenizer(temporary, tokenizer.files);
      const normalisation = parts.adapters.map(readNormalisation).findLast((one) => one !== null);
      if (normalisation) writeNormalisation(temporary, normalisation);
      mark?.(temporary);
    });
    return { adapters: adapters.length, trainedOn };
  } finally {
    for (const files of adapters) files[Symbol.dispose]();
  }
}

function storageOf(adapters: readonly StoredAdapter[], { adapters: paths }: ModelParts): Storage {
  const [first, ...rest] = adapters.map(({ trainedOn }) => trainedOn);
  const other = rest.findIndex((storage) => storage !== first);
  if (other >= 0)
    throw new UserError(
      `${paths[0]} was trained on a base in ${first}, and ${paths[other + 1]} on one in ${rest[other]}`,
      {
        hint: "merge them one after another",
      },
    );
  return first!;
}

/** The model's values with the adapters in them. With one for the head, the head gets a table of its own. */
function mergedModel(
  base: StoredModel,
  adapters: readonly StoredAdapter[],
  trainedOn: Storage,
): Pick<StoredModel, "model" | "values"> {
  const { config, parameters } = base.model;
  const untied = adapters.some(({ adapter }) => adapter.ranks.has(HEAD));
  const scorer = adapters.findLast(({ adapter }) => adapter.scored);
  const model = modelOf(scorer ? scalarOf(config) : { ...config, ...(untied && { tied: false }) });
  const { modules } = base.model;
  return {
    model,
    values(wanted) {
      if (scorer && wanted.name === SCORE) return scorer.values(SCORE);
      const own = parameters.list.some(({ name }) => name === wanted.name);
      const source = parameter(parameters, own ? wanted.name : "wte.weight");
      const values = asTrained(base.values(source), source, trainedOn);
      const module = modules.find(({ name }) => `${name}.weight` === wanted.name);
      if (module) for (const files of adapters) mergeInto(values, module, files);
      expectUsable(values, `merged, ${wanted.name}`);
      return values;
    },
  };
}

/** The numbers that a matrix stood for while it was held in fewer bits. */
function asTrained(values: Float32Array, { shape, role, decay }: Parameter, storage: Storage): Float32Array {
  if (storage === "bf16") return decay ? widened(narrowed(values)) : values;
  if (storage === "f16") return decay ? widenedFromF16(narrowedToF16(values)) : values;
  if (role !== "linear" || !isQuantised(storage)) return values;
  return dequantise(quantise(values, shape, storage), shape, storage);
}

/** Tokens that two models are compared on. */
const PROBE = 64;

/** The largest difference between two models' logits on made-up tokens. */
export function largestDifference(device: Device, a: Bound, b: Bound): number {
  const first = probe(device, a);
  const second = probe(device, b);
  return first.reduce((most, v, i) => Math.max(most, Math.abs(v - second[i]!)), 0);
}

interface Bound {
  readonly model: Model;
  readonly slabs: readonly Slab[];
}

/** Logits [64, V] of made-up tokens, or fewer rows where the context is shorter. */
export function probe(device: Device, { model, slabs }: Bound): Float32Array {
  const length = Math.min(PROBE, model.config.context);
  const [tokens, positions] = [input("tokens", [length], "u32"), input("positions", [length], "u32")];
  const logits = model.logits(model.hidden(tokens, positions, { length }));
  using program = new Program(device, [logits], { bind: bindAll(slabs) });
  program.feed(
    tokens,
    Uint32Array.from({ length }, (_, i) => (i * 7919 + 13) % model.config.vocabulary),
  );
  program.feed(
    positions,
    Uint32Array.from({ length }, (_, i) => i),
  );
  program.run();
  return program.read(logits);
}
