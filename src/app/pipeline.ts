/** A config's stages in one run folder: each made, gone on with, found finished, or made again because what it stands on changed. */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import manifest from "../../package.json";
import type { Device } from "../device/device";
import { UserError } from "../errors";
import { writeTextAside } from "../files";
import { readConfig } from "../formats/checkpoint";
import { sampling } from "../generate/sampling";
import type { Reporter } from "../log/console";
import { kindOf } from "../stages";
import { lockFolder, unwritable } from "../train/lock";
import { RUN_FILE } from "../train/run-folder";
import { adoptedFiles } from "./adopt";
import { makeRoom, removeResult } from "./aside";
import { complete } from "./complete";
import type { Config } from "./config";
import { type Before, decide, outputOf, type Scene, stageFileOf } from "./decide";
import { graphOf, type Node, parentsOf, resultOf, standsOn } from "./graph";
import { hasher } from "./hasher";
import { locateParts } from "./locate";
import { checkParts, openModel } from "./model";
import { runTokenizer } from "./run-tokenizer";
import { beginsNew, contextOf, type Place } from "./sources";
import { seenIn, writeStageFile } from "./stage-file";

export interface RunOptions {
  readonly device: Device;
  /** The run's folder. */
  readonly directory: string;
  readonly console: Reporter;
  readonly signal: AbortSignal;
  /** Where the continuations of `[generate]` go. */
  readonly write: (text: string) => void;
  readonly choice?: Choice;
}

/** Which stages are run, and how. */
export interface Choice {
  /** This stage and what stands on it. */
  readonly from?: string | undefined;
  /** These alone. */
  readonly only?: readonly string[] | undefined;
  /** Their old results are removed first. */
  readonly fresh?: boolean | undefined;
  /** A stage that fails stops only what stands on it. */
  readonly keepGoing?: boolean | undefined;
}

/** Runs a config to its end, or until interrupted. Run again, it goes on where it was. */
export async function runPipeline(config: Config, options: RunOptions): Promise<"finished" | "interrupted"> {
  const { directory, console, device, signal, choice = {} } = options;
  const nodes = graphOf(config);
  const chosen = chosenOf(nodes, choice);
  await checkOutside(chosen, device, console);
  using _lock = lockFolder(directory);
  const files = hasher(seenIn(directory));
  const adopted = await adoptedFiles(directory, { console, hasher: files });
  // Before the config that they were made by is replaced.
  for (const [name, file] of adopted) writeStageFile(join(directory, name), file);
  keepConfig(directory, config);
  const before: Before = { config, directory, console, hasher: files, adopted: new Map() };
  const tokenizer = [...chosen].some(beginsNew) ? await runTokenizer(before) : null;
  const scene: Scene = { ...before, tokenizer: tokenizer?.output ?? null };
  const place: Place = {
    config,
    device,
    directory,
    console,
    signal,
    tokenizer: () => tokenizer!.open(),
    hash: ({ base, adapters }) => files.ofModel(base, ...adapters),
  };
  const failed = new Set<Node>();
  for (const node of chosen) {
    if (parentsOf(node).some((parent) => failed.has(parent))) {
      failed.add(node);
      console.note(`${node.name}: not run, since what it reads failed`);
      continue;
    }
    try {
      expectParents(node, chosen, scene);
      const outcome = await runStage(node, scene, place, choice.fresh === true);
      if (outcome === "interrupted" || signal.aborted) return "interrupted";
    } catch (error) {
      if (!choice.keepGoing || !(error instanceof UserError)) throw error;
      failed.add(node);
      console.note(`${node.name}: ${error.message}`);
    }
  }
  if (failed.size)
    throw new UserError(`${[...failed].map(({ name }) => name).join(", ")} failed or could not be run`, {
      hint: "mend that and run the same command again: what is finished is kept",
    });
  if (config.generate && [...chosen].some(({ name }) => name === resultOf(config)))
    await writeContinuations(config.generate, config.seed, options);
  return "finished";
}

/** Models from outside the run are whole, and fit: known before the run writes anything. */
async function checkOutside(nodes: ReadonlySet<Node>, device: Device, console: Reporter): Promise<void> {
  for (const { stage, reads } of nodes) {
    for (const reference of reads.values()) {
      if (reference.to !== "outside") continue;
      const parts = await locateParts(reference.name, console);
      const { trained } = kindOf(stage).outline(stage, await readConfig(parts.base));
      using _checked = await checkParts(
        device,
        parts,
        parts.adapters.length ? undefined : trained?.model.parameters.storage,
      );
    }
  }
}

/** In the graph's order. Throws a UserError where a stage is named that there is not. */
export function chosenOf(nodes: readonly Node[], { from, only }: Choice): ReadonlySet<Node> {
  const named = (name: string) => {
    const found = nodes.find((node) => node.name === name);
    if (found) return found;
    throw new UserError(`there is no stage ${name}`, {
      hint: `there are ${nodes.map(({ name }) => name).join(", ")}`,
      exitCode: 2,
    });
  };
  if (only?.length) {
    const wanted = only.map(named);
    return new Set(nodes.filter((node) => wanted.includes(node)));
  }
  if (from === undefined) return new Set(nodes);
  const first = named(from);
  return new Set(nodes.filter((node) => node === first || standsOn(node, first)));
}

function expectParents(node: Node, chosen: ReadonlySet<Node>, scene: Scene): void {
  const missing = unfinishedParent(node, chosen, scene);
  if (!missing) return;
  throw new UserError(`${node.name} reads ${missing.name}, which is not finished`, {
    hint: "run it first, or leave out --from and --only",
    exitCode: 2,
  });
}

/** A stage that is read, is not to be run, and has no result. */
export function unfinishedParent(node: Node, chosen: ReadonlySet<Node>, scene: Scene): Node | undefined {
  return parentsOf(node).find((parent) => !chosen.has(parent) && stageFileOf(scene, parent.name)?.state !== "finished");
}

async function runStage(node: Node, scene: Scene, place: Place, fresh: boolean): Promise<"finished" | "interrupted"> {
  const { directory, console, hasher } = scene;
  const { name, stage } = node;
  const folder = join(directory, name);
  let decided = await decide(node, scene);
  if (fresh) removeResult(name, decided.key, scene);
  else if (decided.what === "run again" || decided.what === "bring back") makeRoom(name, decided, scene);
  decided = await decide(node, scene);
  const { what, key, parts, before } = decided;
  if (what === "finished") {
    writeStageFile(folder, { ...before!, seen: hasher.seen });
    console.note(`${name}: finished before`);
    return "finished";
  }
  const made = { ...madeBy(place.device), ...before?.made };
  mkdirSync(folder, { recursive: true });
  writeStageFile(folder, { state: "begun", key, parts, made, seen: hasher.seen });
  const outcome = await kindOf(stage).run(stage, contextOf(node, place));
  if (outcome === "interrupted") return outcome;
  const output = await outputOf(name, scene);
  const finished = new Date().toISOString();
  writeStageFile(folder, { state: "finished", key, parts, output, made: { ...made, finished }, seen: hasher.seen });
  return outcome;
}

function madeBy({ info }: Device) {
  return { program: manifest.version, device: `${info.name} (${info.kind})`, began: new Date().toISOString() };
}

/** The run's resolved config is kept beside it. */
function keepConfig(directory: string, config: Config): void {
  try {
    writeTextAside(join(directory, RUN_FILE), `${JSON.stringify(config, null, 2)}\n`);
  } catch (error) {
    throw unwritable(directory, error);
  }
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
