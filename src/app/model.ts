/** Opening a trained model: wherever a command takes a model, it takes a run, a stage, a checkpoint or a model directory. */
import { existsSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import type { Device } from "../device/device";
import { UserError } from "../errors";
import { Engine } from "../generate/engine";
import { checkModel, loadModel } from "../model/checkpoint";
import type { Gpt2 } from "../model/gpt2";
import type { Storage } from "../model/parameters";
import type { Slab } from "../model/slab";
import { loadTokenizer, type Tokenizer } from "../text/tokenizer";
import { readIndex } from "../train/checkpoints";
import { expectWeightsFit } from "./fits";

/** The model directory that a path stands for: itself, or the best, else the latest checkpoint of the run's last stage. */
export function modelDirectory(path: string): string {
  if (existsSync(join(path, "config.json"))) return path;
  const index = readIndex(path);
  if (index) return join(path, index.best ?? index.latest);
  if (existsSync(join(path, "run.json"))) {
    const stages = readdirSync(path)
      .filter((name) => existsSync(join(path, name, "checkpoints.json")))
      .sort(
        (a, b) =>
          statSync(join(path, a, "checkpoints.json")).mtimeMs - statSync(join(path, b, "checkpoints.json")).mtimeMs,
      );
    if (stages.length) return modelDirectory(join(path, stages.at(-1)!));
    throw new UserError(`the run ${path} has no checkpoint yet`, { hint: "let it train until it saves one" });
  }
  throw new UserError(`no model at ${path}`, {
    hint: "give a run folder, a checkpoint, or a model directory with config.json",
  });
}

export interface OpenModel extends Disposable {
  readonly directory: string;
  readonly model: Gpt2;
  readonly weights: Slab;
  readonly tokenizer: Tokenizer;
  readonly engine: Engine;
}

/**
 * The tokenizer of a model directory. Throws a UserError where its files are not whole, not of one model, or too much for the
 * device; no weights are read and nothing is allocated.
 */
export async function checkDirectory(device: Device, directory: string, storage: Storage = "f32"): Promise<Tokenizer> {
  const tokenizer = await loadTokenizer(directory);
  const { config } = await checkModel(directory);
  if (tokenizer.size > config.vocabulary) {
    throw new UserError(
      `${directory}: the tokenizer has ${tokenizer.size} tokens, and the model ${config.vocabulary}`,
      {
        hint: "these files are not of one model",
      },
    );
  }
  expectWeightsFit(device, config, storage);
  return tokenizer;
}

/** Loads a model onto the device, with its tokenizer. */
export async function openModel(device: Device, path: string, storage: Storage = "f32"): Promise<OpenModel> {
  const directory = modelDirectory(path);
  const tokenizer = await checkDirectory(device, directory, storage);
  const { model, weights } = await loadModel(device, directory, storage);
  const engine = new Engine(device, model, weights);
  return {
    directory,
    model,
    weights,
    tokenizer,
    engine,
    [Symbol.dispose]() {
      engine[Symbol.dispose]();
      weights[Symbol.dispose]();
    },
  };
}
