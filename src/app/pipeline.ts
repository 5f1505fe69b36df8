/** A config's stages in order, in one run folder: made, resumed, or found finished. */
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Device } from "../device/device";
import { UserError } from "../errors";
import { sampling } from "../generate/sampling";
import { type Console, duration, memory, short } from "../log/console";
import { buildStage, type StageConfig, settingsOf } from "../stages";
import { loadTokenizer, type Tokenizer, writeTokenizer } from "../text/tokenizer";
import { fit } from "../train/fit";
import { lockFolder, unwritable } from "../train/lock";
import { told } from "../train/progress";
import { complete } from "./complete";
import { type Config, MERGED_BASE } from "./config";
import { expectFits } from "./fits";
import { locateData, locateParts } from "./locate";
import { mergeModel } from "./merge";
import { type CheckedModel, checkParts, openModel } from "./model";
import { RunState, storageOf } from "./run-state";
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
  const { directory, console, signal } = options;
  using given = await openFrom(config, options);
  using _lock = lockFolder(directory);
  keepConfig(directory, config);
  using merged = given && (await mergedBase(given, config, options));
  const from = merged ?? given;
  const tokenizer = await runTokenizer(config, from?.tokenizer ?? null, directory, console);
  using state = new RunState(config, options, from, tokenizer);
  console.note(
    `model: ${short(state.model.parameters.count)} parameters, vocabulary ${tokenizer.size}, context ${state.model.config.context}`,
  );
  for (const [i, stage] of config.stage.entries()) {
    const outcome = await runStage(stage, config, options, state);
    if (outcome === "interrupted" || signal.aborted) return "interrupted";
    await state.advance(stage, i + 1 < config.stage.length);
  }
  if (config.generate) await writeContinuations(config.generate, config.seed, options);
  return "finished";
}

/** The model to go on from, perhaps with adapters: checked before the run writes anything. */
async function openFrom({ model, stage }: Config, { device, console }: RunOptions): Promise<CheckedModel | null> {
  if (model.from === undefined) return null;
  const parts = await locateParts(model.from, console);
  return checkParts(device, parts, parts.adapters.length ? undefined : storageOf(stage[0]!));
}

/** Training goes on from a whole model: of one with an adapter the run keeps a merged one. Null where it is whole. */
async function mergedBase(
  given: CheckedModel,
  { model, stage }: Config,
  options: RunOptions,
): Promise<CheckedModel | null> {
  if (given.adapters.length === 0) return null;
  const { device, directory, console } = options;
  const merged = join(directory, MERGED_BASE);
  // Until something was trained on it, the adapter may still become another.
  if (!hasBegun(directory)) rmSync(merged, { recursive: true, force: true });
  if (!existsSync(merged)) {
    console.note(`${model.from} is an adapter: training goes on from it as merged into ${merged}`);
    await mergeModel(given.parts, merged);
  }
  return checkParts(device, await locateParts(merged, console), storageOf(stage[0]!));
}

/** Whether any stage has saved something. */
function hasBegun(directory: string): boolean {
  return readdirSync(directory).some((name) => existsSync(join(directory, name, "checkpoints.json")));
}

async function runStage(config: StageConfig, { seed }: Config, options: RunOptions, state: RunState) {
  const { device, directory, console, signal } = options;
  const folder = join(directory, config.name);
  mkdirSync(folder, { recursive: true });
  state.prepare(config);
  const find = (path: string) => locateData(path, console);
  const { model, weights, tokenizer, base } = state;
  using stage = await buildStage(config, { device, seed, console, find, model, weights, tokenizer, base });
  const needed = expectFits(device, stage, {
    name: config.name,
    model: stage.model,
    batch: {
      rows: config.batch.rows,
      tokens: stage.length,
      recompute: config.recompute,
      activations: config.activations,
    },
  });
  console.note(`${config.name}: training takes ${memory(needed)} of device memory`);
  const { reason, progress } = await fit(stage, {
    name: config.name,
    device,
    settings: settingsOf(config),
    directory: folder,
    console,
    signal,
  });
  const best = progress.best ? `, best ${told(progress.best.values)} at step ${progress.best.step}` : "";
  const resident = memory(1024 * process.resourceUsage().maxRSS);
  console.note(
    `${config.name}: ${reason} after step ${progress.step}, ${duration(progress.seconds)}${best}; at most ${resident} of main memory`,
  );
  if (reason === "interrupted") console.note(`saved in ${folder}; run the same command again to go on`);
  state.tokenizer = stage.tokenizer;
  return reason;
}

/** The run's resolved config is kept beside it; another config may not go on from its checkpoints. */
function keepConfig(directory: string, config: Config): void {
  const path = join(directory, "run.json");
  const text = `${JSON.stringify(config, null, 2)}\n`;
  if (existsSync(path)) {
    const different = firstDifference(JSON.parse(readFileSync(path, "utf8")), JSON.parse(text));
    if (!different) return;
    // A run that has saved nothing yet, such as one whose data were refused, may be begun anew.
    if (!hasBegun(directory)) rmSync(join(directory, "tokenizer"), { recursive: true, force: true });
    else
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
  given: Tokenizer | null,
  directory: string,
  console: Console,
): Promise<Tokenizer> {
  const folder = join(directory, "tokenizer");
  if (!existsSync(join(folder, "tokenizer_config.json"))) {
    mkdirSync(folder, { recursive: true });
    if (given) await writeTokenizer(folder, given.files);
    else if (wanted.kind === "file") await writeTokenizer(folder, (await loadTokenizer(wanted.path)).files);
    else await writeTokenizer(folder, await trainTokenizer(await textsOf(stage[0]!, console), wanted, console));
  }
  return given ?? loadTokenizer(folder);
}

/** The text files that a run's tokenizer is trained on. */
async function textsOf(stage: StageConfig, console: Console): Promise<string[]> {
  if (stage.kind !== "pretrain") {
    throw new UserError("a tokenizer is trained on a pretraining stage's text, and the first stage is another", {
      hint: "give model.from, or a tokenizer of kind file",
      exitCode: 2,
    });
  }
  const paths: string[] = [];
  for (const path of [stage.data].flat()) paths.push(await locateData(path, console));
  return paths;
}

async function writeContinuations(
  { prompts, tokens, temperature }: NonNullable<Config["generate"]>,
  seed: number,
  { device, directory, console, write }: RunOptions,
) {
  using opened = await openModel(device, await locateParts(directory, console));
  for (const prompt of prompts) {
    write(`\n${prompt}`);
    for (const { text } of complete(opened, [prompt], sampling.parse({ temperature, maxTokens: tokens, seed })))
      write(text);
    write("\n");
  }
}
