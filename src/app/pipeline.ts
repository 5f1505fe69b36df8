/** A config's stages in order, in one run folder: made, resumed, or found finished. */
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Device } from "../device/device";
import { UserError } from "../errors";
import { sampling } from "../generate/sampling";
import { type Console, duration, memory, short } from "../log/console";
import { loadModel } from "../model/checkpoint";
import { type Gpt2, gpt2 } from "../model/gpt2";
import { initialise } from "../model/parameters";
import { Slab } from "../model/slab";
import { stages } from "../stages";
import { loadTokenizer, type Tokenizer, writeTokenizer } from "../text/tokenizer";
import { fit } from "../train/fit";
import { lockFolder, unwritable } from "../train/lock";
import { complete } from "./complete";
import type { Config } from "./config";
import { findFile } from "./embedded";
import { expectFits } from "./fits";
import { locateModel } from "./locate";
import { checkDirectory, openModel } from "./model";
import { modelConfig } from "./planned";
import { trainTokenizer } from "./train-tokenizer";

export interface RunOptions {
  readonly device: Device;
  /** The run's folder. */
  readonly directory: string;
  readonly console: Console;
  readonly signal: AbortSignal;
  /** Where the continuations of `[generate]` go. */
  readonly write: (text: string) => void;
}

/** Runs a config to its end, or until interrupted. Run again, it goes on where it was. */
export async function runPipeline(config: Config, options: RunOptions): Promise<"finished" | "interrupted"> {
  const { device, directory, console, signal } = options;
  const from = config.model.from === undefined ? null : await locateModel(config.model.from, console);
  if (from) await checkDirectory(device, from);
  using _lock = lockFolder(directory);
  keepConfig(directory, config);
  const tokenizer = await runTokenizer(config, from, directory, console);
  const { model, weights: slab } = from ? await loadModel(device, from) : freshModel(config, tokenizer.size, device);
  {
    using weights = slab;
    console.note(
      `model: ${short(model.parameters.count)} parameters, vocabulary ${tokenizer.size}, context ${model.config.context}`,
    );
    for (const stage of config.stage) {
      const outcome = await runStage(stage, config, options, { tokenizer, model, weights });
      if (outcome === "interrupted" || signal.aborted) return "interrupted";
    }
  }
  if (config.generate) await writeContinuations(config.generate, config.seed, options);
  return "finished";
}

function freshModel(config: Config, vocabulary: number, device: Device) {
  const model = gpt2(modelConfig(config.model, vocabulary));
  return { model, weights: new Slab(device, model.parameters, { values: initialise(model.parameters, config.seed) }) };
}

interface Made {
  readonly tokenizer: Tokenizer;
  readonly model: Gpt2;
  readonly weights: Slab;
}

async function runStage(
  config: Config["stage"][number],
  { seed }: Config,
  { device, directory, console, signal }: RunOptions,
  made: Made,
) {
  const folder = join(directory, config.name);
  mkdirSync(folder, { recursive: true });
  const needed = expectFits(
    device,
    made.model,
    { ...config.batch, recompute: config.recompute, activations: config.activations },
    config.name,
  );
  console.note(`${config.name}: training takes ${memory(needed)} of device memory`);
  using stage = await stages[config.kind].build(config, { device, seed, console, find: findFile, ...made });
  const { reason, progress } = await fit(stage, {
    name: config.name,
    device,
    settings: config,
    directory: folder,
    console,
    signal,
  });
  const best =
    progress.bestLoss === null
      ? ""
      : `, best validation loss ${progress.bestLoss.toFixed(4)} at step ${progress.bestStep}`;
  console.note(`${config.name}: ${reason} after step ${progress.step}, ${duration(progress.seconds)}${best}`);
  if (reason === "interrupted") console.note(`saved in ${folder}; run the same command again to go on`);
  return reason;
}

/** The run's resolved config is kept beside it; another config may not go on in the same folder. */
function keepConfig(directory: string, config: Config): void {
  const path = join(directory, "run.json");
  const text = `${JSON.stringify(config, null, 2)}\n`;
  if (existsSync(path)) {
    const different = firstDifference(JSON.parse(readFileSync(path, "utf8")), JSON.parse(text));
    if (!different) return;
    throw new UserError(`${directory} holds a run with another config: ${different}`, {
      hint: "choose another folder with --out, or another name in the config",
      exitCode: 2,
    });
  }
  try {
    writeFileSync(`${path}.tmp`, text);
    renameSync(`${path}.tmp`, path);
  } catch (error) {
    throw unwritable(directory, error);
  }
}

/** `stage.0.optim.lr was 0.001 and is 0.002`, or null where nothing differs. What is written after training may differ. */
function firstDifference(before: unknown, now: unknown, path = ""): string | null {
  if (path === "generate") return null;
  if (typeof before !== "object" || typeof now !== "object" || before === null || now === null) {
    return Object.is(before, now) ? null : `${path} was ${JSON.stringify(before)} and is ${JSON.stringify(now)}`;
  }
  for (const key of new Set([...Object.keys(before), ...Object.keys(now)])) {
    const at = path ? `${path}.${key}` : key;
    const found = firstDifference((before as Record<string, unknown>)[key], (now as Record<string, unknown>)[key], at);
    if (found) return found;
  }
  return null;
}

/** The run's own copy of its tokenizer: that of the model it goes on from, or trained the first time. */
async function runTokenizer(
  { tokenizer: wanted, stage }: Config,
  from: string | null,
  directory: string,
  console: Console,
): Promise<Tokenizer> {
  const folder = join(directory, "tokenizer");
  if (!existsSync(join(folder, "tokenizer_config.json"))) {
    mkdirSync(folder, { recursive: true });
    if (from) await writeTokenizer(folder, (await loadTokenizer(from)).files);
    else if (wanted.kind === "file") await writeTokenizer(folder, (await loadTokenizer(wanted.path)).files);
    else await writeTokenizer(folder, await trainTokenizer([stage[0]!.data].flat(), wanted, console));
  }
  return loadTokenizer(folder);
}

async function writeContinuations(
  { prompts, tokens, temperature }: NonNullable<Config["generate"]>,
  seed: number,
  { device, directory, write }: RunOptions,
) {
  using opened = await openModel(device, directory);
  for (const prompt of prompts) {
    write(`\n${prompt}`);
    for (const { text } of complete(opened, [prompt], sampling.parse({ temperature, maxTokens: tokens, seed })))
      write(text);
    write("\n");
  }
}
