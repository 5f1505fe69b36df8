/** What a config would do, as text: the graph in order, each stage's state, sizes, memory, steps. Nothing is written. */
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { messageOf, UserError } from "../errors";
import { type Reporter, short } from "../log/console";
import { modelOf } from "../model/model";
import { kindOf } from "../stages";
import { readIndex } from "../train/checkpoints";
import { TOKENIZER_FOLDER } from "../train/run-folder";
import type { Config } from "./config";
import { decide, formerConfig, type Scene } from "./decide";
import { graphOf, type Node, parentsOf, resultOf } from "./graph";
import { type Choice, chosenOf } from "./pipeline";
import { plannedModel } from "./planned";
import { hasher, readStageFile } from "./stage-file";

/** For `run --plan`. */
export async function planText(
  config: Config,
  { directory, console, choice = {} }: { directory: string; console: Reporter; choice?: Choice },
): Promise<string> {
  const nodes = graphOf(config);
  const chosen = chosenOf(nodes, choice);
  const { tokenizer } = config;
  const lines = [`run ${config.name}, seed ${config.seed}`];
  lines.push(
    config.model.from === undefined
      ? `tokenizer: ${tokenizer.kind}${"size" in tokenizer ? ` of ${tokenizer.size} tokens` : ""}`
      : `weights and tokenizer: ${config.model.from}`,
  );
  const scene: Scene = {
    config,
    directory,
    console,
    hasher: hasher({}),
    former: formerConfig(directory),
    tokenizer: readStageFile(join(directory, TOKENIZER_FOLDER))?.output ?? null,
  };
  const states = new Map<Node, string>();
  let last = "";
  for (const [i, node] of nodes.entries()) {
    const state = chosen.has(node) ? await stateOf(node, scene, states, choice.fresh === true) : "left out";
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
  lines.push(`the run stands for ${resultOf(config)}`);
  if (config.generate)
    lines.push(`then ${config.generate.prompts.length} continuations of ${config.generate.tokens} tokens`);
  return `${lines.join("\n")}\n`;
}

async function stateOf(node: Node, scene: Scene, states: ReadonlyMap<Node, string>, fresh: boolean): Promise<string> {
  const { directory } = scene;
  const folder = join(directory, node.name);
  const there = existsSync(folder) && readdirSync(folder).length > 0;
  if (fresh) return there ? "to run anew; its old result will be removed" : "to run";
  const waits = parentsOf(node).find(
    (parent) => states.get(parent) !== "finished" && states.get(parent) !== "left out",
  );
  if (waits) return there ? `to run again if ${waits.name} has another result` : `to run after ${waits.name}`;
  if (!there) return "to run";
  try {
    const { what, why } = await decide(node, scene);
    if (what === "finished") return "finished";
    const step = /\d+$/.exec(readIndex(folder)?.latest ?? "")?.[0];
    if (what === "go on") return step ? `to go on after step ${Number(step)}` : "to begin";
    return what === "run again" ? `to run again because ${why}` : "to run";
  } catch (error) {
    if (error instanceof UserError) return `cannot be run: ${messageOf(error)}`;
    throw error;
  }
}
