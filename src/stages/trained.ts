/** What a stage trains: the whole model, or an adapter beside it. */

import { dirname, isAbsolute, relative } from "node:path";
import { UserError } from "../errors";
import { readModel, writeModel } from "../formats/checkpoint";
import { readAdapter, writeAdapter } from "../formats/peft";
import { weightsHash } from "../formats/weights-files";
import { HEAD, SCORE } from "../model/architecture";
import { type Adapter, adapterOf, columnNorms, targeted } from "../model/lora";
import { type Model, withAdapters } from "../model/model";
import { initialise, parameter } from "../model/parameters";
import { Slab } from "../model/slab";
import { type Tokenizer, writeTokenizer } from "../text/tokenizer";
import type { LoraConfig } from "../train/settings";
import type { Context } from "./context";

export interface TrainedModel extends Disposable {
  /** The model with what is trained in it. */
  readonly model: Model;
  /** What is trained. */
  readonly weights: Slab;
  readonly frozen: readonly Slab[];
  /** Everything that the model reads. */
  readonly slabs: readonly Slab[];
  /** `values`: in the place of the weights, such as their average over steps. */
  write(directory: string, tokenizer: Tokenizer, values?: Slab): Promise<void>;
  read(directory: string): void;
}

export interface TrainedOptions {
  /** A scalar head is trained: an adapter has its own beside its matrices. */
  readonly scored?: boolean;
}

export function trainedParts(
  lora: LoraConfig | undefined,
  context: Context,
  { scored = false }: TrainedOptions = {},
): TrainedModel {
  return lora ? adapterParts(lora, context, scored) : wholeModel(context);
}

/** Nothing is frozen, and there is nothing to dispose of: the weights are the run's. */
export function wholeModel({ model, weights }: Context): TrainedModel {
  return {
    model,
    weights,
    frozen: [],
    slabs: [weights],
    async write(directory, tokenizer, values = weights) {
      await writeModel(directory, model, values, tokenizer);
      await writeTokenizer(directory, tokenizer.files);
    },
    read: (directory) => readModel(directory, model, weights),
    [Symbol.dispose]() {},
  };
}

/** Throws a UserError where there is no such adapter for this model. Costs nothing: to be asked before data are read. */
export function checkLora(lora: LoraConfig | undefined, { model, base }: Pick<Context, "model" | "base">): void {
  if (!lora) return;
  const modules = targeted(model.modules, lora.targets);
  const refuse = (message: string, hint: string) => {
    throw new UserError(message, { hint, exitCode: 2 });
  };
  const idle = lora.targets.filter((pattern) => targeted(model.modules, [pattern]).length === 0);
  if (idle.length)
    refuse(
      `lora.targets names no layer: ${idle.join(", ")}`,
      "use attn.c_attn, attn.c_proj, mlp.c_fc, mlp.c_proj, head, or all-linear",
    );
  if (base === null)
    refuse(
      "an adapter needs a saved model to be for, and this one is new",
      "give model.from, or a stage before this one",
    );
  if (lora.dora && modules.some(({ name }) => name === HEAD))
    refuse("lora.dora does not go with the head", "leave head out of lora.targets");
}

function adapterParts(lora: LoraConfig, context: Context, scored: boolean): TrainedModel {
  checkLora(lora, context);
  const { device, seed, model: base, weights: frozen } = context;
  const from = context.base!;
  const modules = targeted(base.modules, lora.targets);
  // A name on the Hub stands for the same weights for ever.
  const baseHash = isAbsolute(from) ? weightsHash(from) : undefined;
  const adapter = adapterOf(modules, lora, { score: scored ? base.config.width : undefined });
  const weights = new Slab(device, adapter.parameters, { values: firstValues(adapter, base, frozen, seed) });
  return {
    model: withAdapters(base, [adapter]),
    weights,
    frozen: [frozen],
    slabs: [frozen, weights],
    async write(directory, tokenizer, values = weights) {
      await writeAdapter(directory, {
        adapter,
        weights: values,
        base: pathFrom(directory, from),
        trainedOn: base.parameters.storage,
        baseHash,
      });
      await writeTokenizer(directory, tokenizer.files);
    },
    read: (directory) => readAdapter(directory, weights),
    [Symbol.dispose]: () => weights[Symbol.dispose](),
  };
}

/** A fresh adapter; DoRA's magnitudes are the lengths of the base's columns. */
function firstValues(adapter: Adapter, base: Model, frozen: Slab, seed: number): Float32Array {
  const values = initialise(adapter.parameters, seed);
  // A reward model that is trained on goes on from its own head.
  if (adapter.scored && base.config.scalar)
    values.set(frozen.read(parameter(base.parameters, SCORE)), parameter(adapter.parameters, SCORE).offset);
  if (!adapter.settings.dora) return values;
  for (const { name, inputs, outputs } of base.modules) {
    if (!adapter.ranks.has(name)) continue;
    const weight = frozen.read(parameter(base.parameters, `${name}.weight`));
    const { offset } = parameter(adapter.parameters, `${name}.lora_magnitude_vector`);
    values.set(columnNorms(weight, inputs, outputs), offset);
  }
  return values;
}

/** From the adapter's folder where the base lies in the same run, which may be moved as a whole; else as it is. */
function pathFrom(directory: string, base: string): string {
  if (!isAbsolute(base)) return base;
  const within = relative(dirname(dirname(directory)), base);
  return within.startsWith("..") || isAbsolute(within) ? base : relative(directory, base);
}
