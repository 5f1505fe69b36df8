/** A config's stages in one run folder: each made, gone on with, found finished, or made again because what it stands on changed. */
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { Device } from "../device/device";
import { UserError } from "../errors";
import { writeTextAside } from "../files";
import { readConfig } from "../formats/checkpoint";
import { sampling } from "../generate/sampling";
import type { Reporter } from "../log/console";
import { kindOf } from "../stages";
import { lockFolder, unwritable } from "../train/lock";
import { keptAside, RUN_FILE } from "../train/run-folder";
import { complete } from "./complete";
import type { Config } from "./config";
import { type Decision, decide, formerConfig, hashOfResult, outputOf, type Scene } from "./decide";
import { graphOf, type Node, parentsOf, resultOf, standsOn } from "./graph";
import { locateParts } from "./locate";
import { checkParts, openModel } from "./model";
import { runTokenizer } from "./run-tokenizer";
import { beginsNew, contextOf, type Place } from "./sources";
import { hasher, readStageFile, type Seen, type StageFile, writeStageFile } from "./stage-file";

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
  const former = formerConfig(directory);
  keepConfig(directory, config);
  const files = hasher(seenIn(directory));
  const news = nodes.some((node) => beginsNew(node) && chosen.has(node));
  const tokenizer = news ? await runTokenizer(config, { directory, console, hasher: files, former }) : null;
  const scene: Scene = { config, directory, console, hasher: files, former, tokenizer: tokenizer?.output ?? null };
  const hash = async (folders: readonly string[]) => {
    const all: string[] = [];
    for (const folder of folders) all.push(await files.ofModel(folder));
    return new Bun.CryptoHasher("sha256").update(all.join("\n")).digest("hex");
  };
  const place: Place = { config, device, directory, console, signal, tokenizer: () => tokenizer!.open(), hash };
  const failed = new Map<Node, unknown>();
  for (const node of nodes) {
    if (!chosen.has(node)) continue;
    if (parentsOf(node).some((parent) => failed.has(parent))) {
      failed.set(node, null);
      console.note(`${node.name}: not run, since what it reads failed`);
      continue;
    }
    try {
      expectParents(node, chosen, directory);
      const outcome = await runStage(node, scene, place, choice.fresh === true);
      if (outcome === "interrupted" || signal.aborted) return "interrupted";
    } catch (error) {
      if (!choice.keepGoing || !(error instanceof UserError)) throw error;
      failed.set(node, error);
      console.note(`${node.name}: ${error.message}`);
    }
  }
  if (failed.size)
    throw new UserError(`${[...failed.keys()].map(({ name }) => name).join(", ")} failed or could not be run`, {
      hint: "mend that and run the same command again: what is finished is kept",
    });
  if (config.generate && nodes.some((node) => node.name === resultOf(config) && chosen.has(node)))
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

/** Throws a UserError where a stage is named that there is not. */
export function chosenOf(nodes: readonly Node[], { from, only }: Choice): ReadonlySet<Node> {
  const named = (name: string) => {
    const found = nodes.find((node) => node.name === name);
    if (found) return found;
    throw new UserError(`there is no stage ${name}`, {
      hint: `there are ${nodes.map(({ name }) => name).join(", ")}`,
      exitCode: 2,
    });
  };
  if (only?.length) return new Set(only.map(named));
  if (from === undefined) return new Set(nodes);
  const first = named(from);
  return new Set(nodes.filter((node) => node === first || standsOn(node, first)));
}

function expectParents(node: Node, chosen: ReadonlySet<Node>, directory: string): void {
  const missing = parentsOf(node).find((parent) => !chosen.has(parent) && outputOf(directory, parent) === "");
  if (!missing) return;
  throw new UserError(`${node.name} reads ${missing.name}, which is not finished`, {
    hint: `run it first, or leave out --from and --only`,
    exitCode: 2,
  });
}

async function runStage(node: Node, scene: Scene, place: Place, fresh: boolean): Promise<"finished" | "interrupted"> {
  const { directory, console, hasher } = scene;
  const { name, stage } = node;
  const folder = join(directory, name);
  if (fresh && existsSync(folder)) {
    console.note(`${name}: begun anew; its old result is removed`);
    rmSync(folder, { recursive: true, force: true });
  }
  let decision = await decide(node, scene);
  if (decision.what === "run again") {
    setAside(node, decision, scene);
    decision = await decide(node, scene);
  }
  const { what, key, parts, before } = decision;
  const write = (file: Pick<StageFile, "state" | "output">) =>
    writeStageFile(folder, { ...file, key, parts, seen: hasher.seen });
  if (what === "finished") {
    // Also of a stage that was made before there were stage files.
    write({ state: "finished", output: before!.output });
    console.note(`${name}: finished before`);
    return "finished";
  }
  mkdirSync(folder, { recursive: true });
  write({ state: "begun" });
  const outcome = await kindOf(stage).run(stage, contextOf(node, place));
  if (outcome === "finished") write({ state: "finished", output: await hashOfResult(directory, node, hasher) });
  return outcome;
}

/** Keeps a result that is to be made again; brings one back that was made in this way before. */
function setAside({ name }: Node, { why, key, before }: Decision, { directory, console }: Scene): void {
  const folder = join(directory, name);
  const kept = join(directory, keptAside(name, before!.key));
  rmSync(kept, { recursive: true, force: true });
  renameSync(folder, kept);
  const other = join(directory, keptAside(name, key));
  const back = readStageFile(other)?.key === key;
  if (back) renameSync(other, folder);
  console.note(
    `${name}: ${back ? "its former result is brought back" : "runs again"}: ${why}; the other is kept in ${kept}`,
  );
}

/** What is known of files from all stages. */
function seenIn(directory: string): Seen {
  const folders = readdirSync(directory, { withFileTypes: true }).filter((entry) => entry.isDirectory());
  return Object.assign({}, ...folders.map(({ name }) => readStageFile(join(directory, name))?.seen ?? {}));
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
