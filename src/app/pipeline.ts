/** A config's stages in one run folder: each made, gone on with, found finished, or made again because what it stands on changed. */
import { existsSync, mkdirSync, realpathSync } from "node:fs";
import { join, sep } from "node:path";
import manifest from "../../package.json";
import type { Device } from "../device/device";
import { UserError } from "../errors";
import { writeTextAside } from "../files";
import { readConfig } from "../formats/checkpoint";
import { sampling } from "../generate/sampling";
import type { Reporter } from "../log/console";
import { kindOf } from "../stages";
import { checkpointsIn } from "../train/checkpoints";
import { lockFolder, unwritable } from "../train/lock";
import { RUN_FILE } from "../train/run-folder";
import type { Watch } from "../train/watch";
import { adoptedFiles } from "./adopt";
import { makeRoom, removeResult } from "./aside";
import { complete } from "./complete";
import type { Config } from "./config";
import { type Before, decide, outputOf, partsOf, type Scene, stageFileOf } from "./decide";
import { graphOf, type Node, parentsOf, resultOf, standsOn } from "./graph";
import { hasher } from "./hasher";
import { locateParts } from "./locate";
import { checkParts, expectNoModel, type ModelParts, openModel } from "./model";
import { keyOf } from "./parts";
import { runTokenizer, tokenizerOutput } from "./run-tokenizer";
import { expectRunnable } from "./runnable";
import { beginsNew, contextOf, mergedStage, type Place } from "./sources";
import { mendFolders, seenIn, writeStageFile } from "./stage-file";
import { wholeOf } from "./whole";

export interface RunOptions {
  readonly device: Device;
  /** The run's folder. */
  readonly directory: string;
  readonly console: Reporter;
  readonly signal: AbortSignal;
  /** From here on there is something to lose: signals are to abort `signal`, and not to end the program at once. */
  readonly hold?: () => Disposable;
  readonly watch?: Watch | undefined;
  /** Where the continuations of `[generate]` go. */
  readonly write: (text: string) => void;
  readonly choice?: Choice;
  /** The folder of the config's file. */
  readonly beside?: string | undefined;
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
  expectNoModel(directory);
  if (!choice.keepGoing) await expectRunnable(chosen, { config, ...options });
  await checkOutside(chosen, options);
  using _lock = lockFolder(directory);
  mendFolders(directory, console);
  const files = hasher(seenIn(directory));
  const adopted = await adoptedFiles(directory, { console, hasher: files });
  // Before the config that they were made by is replaced.
  for (const [name, file] of adopted) writeStageFile(join(directory, name), file);
  keepConfig(directory, config);
  const before: Before = { config, directory, console, hasher: files, adopted: new Map() };
  const tokenizer = [...chosen].some(beginsNew) ? await runTokenizer(before) : null;
  const scene: Scene = { ...before, tokenizer: tokenizer?.output ?? (await tokenizerOutput(before)) };
  const place: Place = {
    config,
    device,
    directory,
    console,
    signal,
    hold: options.hold,
    watch: options.watch,
    fresh: choice.fresh === true,
    tokenizer: () => tokenizer!.open(),
    hasher: files,
  };
  const whole = wholeOf(
    [...chosen].map(({ name }) => name),
    { console, seconds: config.seconds },
  );
  const failed = new Set<Node>();
  for (const node of chosen) {
    if (parentsOf(node).some((parent) => failed.has(parent))) {
      failed.add(node);
      console.note(`${node.name}: not run, since what it reads failed`);
      continue;
    }
    try {
      await expectParents(node, chosen, scene);
      const told = { ...place, console: whole.begin(node.name) };
      // The rest of a stage says nothing of how long a whole one takes here.
      const part = checkpointsIn(join(directory, node.name)).length > 0;
      const outcome = await runStage(node, scene, told, choice.fresh === true);
      if (outcome === "interrupted" || signal.aborted) {
        if (choice.fresh) console.note("leave out --fresh to go on with what was saved");
        return "interrupted";
      }
      whole.end(node.name, outcome === "finished" && !part);
      // For those that stand on it, also where they are finished and it was made anew.
      if (nodes.some((other) => parentsOf(other).includes(node))) await mergedStage(node.name, place);
    } catch (error) {
      if (!choice.keepGoing || !(error instanceof UserError)) throw error;
      failed.add(node);
      whole.end(node.name, false);
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
async function checkOutside(
  nodes: ReadonlySet<Node>,
  { device, directory, console }: Pick<RunOptions, "device" | "directory" | "console">,
): Promise<void> {
  for (const { stage, reads } of nodes) {
    for (const reference of reads.values()) {
      if (reference.to !== "outside") continue;
      const parts = await locateParts(reference.name, console);
      expectElsewhere(directory, parts, reference.name);
      const { trained } = kindOf(stage).outline(stage, await readConfig(parts.base));
      using _checked = await checkParts(device, parts, {
        storage: parts.adapters.length ? undefined : trained?.model.parameters.storage,
      });
    }
  }
}

/** A run that read from its own folder would be another the next time, or read what it has made. */
function expectElsewhere(directory: string, { base, adapters }: ModelParts, name: string): void {
  if (!existsSync(directory)) return;
  const inside = (path: string) => `${realpathSync(path)}${sep}`.startsWith(`${realpathSync(directory)}${sep}`);
  if ([base, ...adapters].some(inside))
    throw new UserError(`${name} lies in the run's own folder, ${directory}`, {
      hint: "give another folder with --out, or name an earlier stage of the config",
      exitCode: 2,
    });
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

async function expectParents(node: Node, chosen: ReadonlySet<Node>, scene: Scene): Promise<void> {
  const unready = await unreadyParent(node, chosen, scene);
  if (!unready) return;
  throw new UserError(`${node.name} stands on ${unready.name}, which ${unready.why}`, {
    hint: "run it first, or leave out --from and --only",
    exitCode: 2,
  });
}

export interface Unready {
  readonly name: string;
  /** `is not finished`, or that it is to run again. */
  readonly why: string;
}

/** A stage that is read, over any number of others, is not to be run, and has no result or one that is stale. */
export async function unreadyParent(node: Node, chosen: ReadonlySet<Node>, scene: Scene): Promise<Unready | null> {
  for (const parent of parentsOf(node)) {
    const above = await unreadyParent(parent, chosen, scene);
    if (above) return above;
    if (chosen.has(parent)) continue;
    if (stageFileOf(scene, parent.name)?.state !== "finished") return { name: parent.name, why: "is not finished" };
    const { what, why } = await decide(parent, scene);
    if (what !== "finished") return { name: parent.name, why: `has to run again: ${why}` };
  }
  return null;
}

async function runStage(
  node: Node,
  scene: Scene,
  place: Place,
  fresh: boolean,
): Promise<"finished" | "finished before" | "interrupted"> {
  const { directory, console, hasher } = scene;
  const { name, stage } = node;
  const folder = join(directory, name);
  if (fresh) removeResult(name, keyOf(await partsOf(node, scene)), scene);
  let decided = await decide(node, scene);
  if (decided.what === "run again" || decided.what === "bring back") {
    makeRoom(name, decided, scene);
    decided = await decide(node, scene);
  }
  const { what, why, key, parts, before } = decided;
  if (what === "finished") {
    writeStageFile(folder, { ...before!, seen: hasher.seen });
    console.note(`${name}: finished before`);
    return "finished before";
  }
  if (what === "go on" && why !== null) console.note(`${name}: goes on: ${why}`);
  const { finished: _, ...began } = before?.made ?? {};
  const made = { ...madeBy(place.device), ...began };
  try {
    mkdirSync(folder, { recursive: true });
  } catch (error) {
    throw unwritable(folder, error);
  }
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
  const options = { ...sampling.parse({ temperature, maxTokens: tokens, seed }), asked: new Map() };
  for (const prompt of prompts) {
    write(`\n${prompt}`);
    for (const { text } of complete(opened, [prompt], options)) write(text);
    write("\n");
  }
}
