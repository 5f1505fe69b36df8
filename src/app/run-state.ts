/** What goes from stage to stage of a run. */

import { existsSync } from "node:fs";
import { basename, join, resolve } from "node:path";
import type { Device } from "../device/device";
import { openModelFiles, readModel } from "../formats/checkpoint";
import { cachedModel, isHubName } from "../hub/fetch";
import type { Console } from "../log/console";
import { type Model, modelOf } from "../model/model";

import { initialise, type Storage } from "../model/parameters";
import { Slab } from "../model/slab";
import type { StageConfig } from "../stages";
import type { Tokenizer } from "../text/tokenizer";
import { readIndex } from "../train/checkpoints";
import type { Config } from "./config";
import { locateParts } from "./locate";
import { mergeModel } from "./merge";
import { type CheckedModel, isAdapter, modelDirectory } from "./model";
import type { RunOptions } from "./pipeline";
import { modelConfig } from "./planned";

/** How the model's weights are held while a stage trains. */
export function storageOf(stage: StageConfig): Storage {
  return stage.kind === "sft" && stage.lora ? stage.lora.base : "f32";
}

/** What goes from stage to stage: the model, its weights, the tokenizer, and where the weights are from. */
export class RunState implements Disposable {
  model: Model;
  weights: Slab;
  tokenizer: Tokenizer;
  base: string | null;
  private readonly device: Device;
  private readonly directory: string;
  private readonly console: Console;

  constructor(
    config: Config,
    { device, directory, console }: RunOptions,
    from: CheckedModel | null,
    tokenizer: Tokenizer,
  ) {
    this.device = device;
    this.directory = directory;
    this.console = console;
    this.tokenizer = tokenizer;
    this.base = from && nameOf(config.model.from!, from.parts.base);
    this.model = from ? from.stored.model : modelOf(modelConfig(config.model, tokenizer.size));
    this.weights = from
      ? from.stored.load(device)
      : new Slab(device, this.model.parameters, { values: initialise(this.model.parameters, config.seed) });
  }

  /** Brings the weights into the form that a stage wants. */
  prepare(stage: StageConfig): void {
    const storage = storageOf(stage);
    if (this.model.parameters.storage === storage) return;
    const model = modelOf(this.model.config, storage);
    const weights = new Slab(this.device, model.parameters);
    model.parameters.list.forEach((parameter, i) => {
      weights.write(parameter, this.weights.read(this.model.parameters.list[i]!));
    });
    this.replace(model, weights);
  }

  /** After a stage: its best checkpoint, or its latest, is what the next one starts from. An adapter is merged for it. */
  async advance(stage: StageConfig, more: boolean): Promise<void> {
    const folder = resolve(this.directory, stage.name);
    const saved = modelDirectory(folder);
    this.base = saved;
    if (!more) return;
    if (!isAdapter(saved)) {
      if (basename(saved) === readIndex(folder)!.latest) return;
      this.console.note(`${stage.name}: the next stage goes on from its best checkpoint, ${basename(saved)}`);
      readModel(saved, this.model, this.weights);
      return;
    }
    const merged = join(folder, "merged");
    if (!existsSync(merged)) await mergeModel(await locateParts(saved, this.console), merged);
    this.base = merged;
    using stored = await openModelFiles(merged);
    this.replace(stored.model, stored.load(this.device));
  }

  private replace(model: Model, weights: Slab): void {
    this.weights[Symbol.dispose]();
    this.model = model;
    this.weights = weights;
  }

  [Symbol.dispose](): void {
    this.weights[Symbol.dispose]();
  }
}

/** A name on the Hub stays one; a path is told whole. */
function nameOf(given: string, directory: string): string {
  return isHubName(given) && cachedModel(given) === directory ? given : resolve(directory);
}
