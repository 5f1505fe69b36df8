/** What a config would do, as text: the graph in order, each stage's state, sizes, memory, steps. Nothing is written. */
import { join } from "node:path";
import { messageOf, UserError } from "../errors";
import { short } from "../log/console";
import { modelOf } from "../model/model";
import { kindOf } from "../stages";
import { readIndex } from "../train/checkpoints";
import { keptAside } from "../train/run-folder";
import { adoptedFiles } from "./adopt";
import type { Config } from "./config";
import { type Before, type Decision, decide, hasSaved, ownReason, type Scene } from "./decide";
import { graphOf, type Node, parentsOf, resultOf } from "./graph";
import { hasher } from "./hasher";
import { expectNoModel } from "./model";
import { type Choice, chosenOf, type RunOptions, unreadyParent } from "./pipeline";
import { plannedModel } from "./planned";
import { tokenizerOutput } from "./run-tokenizer";
import { expectRunnable } from "./runnable";
import { beginsNew } from "./sources";
import { foldersIn, seenIn } from "./stage-file";

export interface Plan {
  readonly text: string;
  /** The stages that could not be run. */
  readonly unready: readonly string[];
}

/** For `run --plan`. */
export async function planOf(
  config: Config,
  { directory, console, choice = {}, beside }: Pick<RunOptions, "directory" | "console" | "choice" | "beside">,
): Promise<Plan> {
  expectNoModel(directory);
  const nodes = graphOf(config);
  const chosen = chosenOf(nodes, choice);
  if (!choice.keepGoing) await expectRunnable(chosen, { config, console, beside });
  const { tokenizer } = config;
  const lines = [`run ${config.name}, seed ${config.seed}`];
  lines.push(
    config.model.from === undefined
      ? `tokenizer: ${tokenizer.kind}${"size" in tokenizer ? ` of ${tokenizer.size} tokens` : ""}`
      : `weights and tokenizer: ${config.model.from}`,
  );
  const files = hasher(seenIn(directory));
  const adopted = await adoptedFiles(directory, { console, hasher: files });
  const before: Before = { config, directory, console, hasher: files, adopted };
  const scene: Scene = { ...before, tokenizer: await tokenizerOutput(before) };
  const states = new Map<Node, string>();
  let last = "";
  for (const [i, node] of nodes.entries()) {
    const state = chosen.has(node) ? await stateOf(node, { scene, chosen, states, choice }) : "left out";
    states.set(node, state);
    const sizes = await plannedModel(node, config, console);
    const { layers, heads, width, context } = sizes;
    const model = `${layers} layers, ${heads} heads, width ${width}, context ${context}, ${short(modelOf(sizes).parameters.count)} parameters`;
    if (model !== last) lines.push(`model: ${model}`);
    last = model;
    const reads = [...node.reads.values()].map((to) =>
      to.to === "stage" ? to.node.name : to.to === "new" ? "new" : to.name,
    );
    lines.push(
      `stage ${i + 1}: ${node.name} (${node.stage.kind}) <- ${reads.join(", ")}: ${state}`,
      ...kindOf(node.stage)
        .outline(node.stage, sizes)
        .lines.map((line) => `  ${line}`),
    );
  }
  lines.push(`the run stands for ${resultOf(config) ?? "no model: it only measures"}`);
  if (config.generate)
    lines.push(`then ${config.generate.prompts.length} continuations of ${config.generate.tokens} tokens`);
  const unready = [...states].flatMap(([{ name }, state]) => (state.startsWith(CANNOT) ? [name] : []));
  return { text: `${lines.join("\n")}\n`, unready };
}

/** Whether a former result of the stage was set aside, which may be the one that is wanted. */
function isKept(directory: string, name: string): boolean {
  return foldersIn(directory).some((folder) => folder.startsWith(keptAside(name, "")));
}

const CANNOT = "cannot be run: ";

interface Planned {
  readonly scene: Scene;
  readonly chosen: ReadonlySet<Node>;
  readonly states: ReadonlyMap<Node, string>;
  readonly choice: Choice;
}

async function stateOf(node: Node, { scene, chosen, states, choice }: Planned): Promise<string> {
  const folder = join(scene.directory, node.name);
  const there = hasSaved(folder);
  try {
    const unready = await unreadyParent(node, chosen, scene);
    if (unready) return `${CANNOT}${unready.name} ${unready.why}`;
    if (choice.fresh) return there ? "to run anew; its old result will be removed" : "to run";
    const parent = parentsOf(node).find((parent) => chosen.has(parent) && states.get(parent) !== FINISHED)?.name;
    const waits = parent ?? (beginsNew(node) && scene.tokenizer === null ? "the tokenizer" : undefined);
    if (waits && there) {
      const why = await ownReason(node, scene);
      return why === null ? `to run again if ${waits} has another result` : `to run again because ${why}`;
    }
    if (waits) return parent ? `to run after ${parent}` : "to run";
    // What a stage reads need not be there yet: it may have to be fetched, which a plan does not.
    if (!there && !isKept(scene.directory, node.name)) return "to run";
    const { what, why } = await decide(node, scene);
    return inWords(what, why, folder);
  } catch (error) {
    if (error instanceof UserError) return `${CANNOT}${messageOf(error)}`;
    throw error;
  }
}

const FINISHED = "finished";

function inWords(what: Decision["what"], why: string | null, folder: string): string {
  const because = why === null ? "" : ` because ${why}`;
  switch (what) {
    case "finished":
      return FINISHED;
    case "go on": {
      const step = /\d+$/.exec(readIndex(folder)?.latest ?? "")?.[0];
      return step ? `to go on after step ${Number(step)}` : "to run";
    }
    case "run":
      return "to run";
    case "run again":
      return `to run again${because}`;
    case "bring back":
      return `its former result to be brought back${because}`;
    default:
      throw new Error(`decision ${what satisfies never}`);
  }
}
