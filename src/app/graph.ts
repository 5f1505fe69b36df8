/** A config's stages as a graph: what each reads. Stages name only earlier ones, so their order in the file is the graph's. */
import { existsSync } from "node:fs";
import { isHubName } from "../hub/fetch";
import { ruleNear } from "../rewards/rules";
import { kindOf, makesModel, type StageConfig } from "../stages";
import { nearest } from "../text/nearest";
import { reservedNames } from "../train/run-folder";
import { findFile } from "./embedded";

/** A fresh model. */
export const NEW = "new";

/** A model that a stage reads. */
export type Reference =
  | { readonly to: "stage"; readonly node: Node }
  /** A run, a checkpoint, a directory, a name on the Hub. */
  | { readonly to: "outside"; readonly name: string }
  | { readonly to: "new" };

export interface Node {
  readonly stage: StageConfig;
  readonly name: string;
  readonly reads: ReadonlyMap<string, Reference>;
}

export interface Stages {
  readonly stage: readonly StageConfig[];
  readonly model: { readonly from?: string | undefined };
  readonly result?: string | undefined;
}

export function graphOf({ stage: stages, model }: Stages): Node[] {
  const nodes: Node[] = [];
  for (const [i, stage] of stages.entries()) {
    const reads = Object.entries(kindOf(stage).reads(stage)).flatMap(([key, given]): [string, Reference][] => {
      const name = given ?? (key === "from" ? defaultFrom(i, stages, model.from) : undefined);
      if (name === undefined) return [];
      const node = nodes.find((node) => node.name === name);
      if (node) return [[key, { to: "stage", node }]];
      return [[key, name === NEW ? { to: "new" } : { to: "outside", name }]];
    });
    nodes.push({ stage, name: stage.name, reads: new Map(reads) });
  }
  return nodes;
}

/** The last stage before it that makes a model, or where there is none the model that the run goes on from. */
function defaultFrom(i: number, stages: readonly StageConfig[], from: string | undefined): string {
  return stages.slice(0, i).findLast(makesModel)?.name ?? from ?? NEW;
}

/** Whether `node` stands on `other`, over any number of stages. */
export function standsOn(node: Node, other: Node): boolean {
  return parentsOf(node).some((parent) => parent === other || standsOn(parent, other));
}

export function parentsOf({ reads }: Node): Node[] {
  return [...reads.values()].flatMap((reference) => (reference.to === "stage" ? [reference.node] : []));
}

/** The stage that a run stands for; undefined where none makes a model. */
export function resultOf({ stage, result }: Pick<Stages, "stage" | "result">): string | undefined {
  return result ?? stage.findLast(makesModel)?.name;
}

interface Problem {
  readonly path: readonly (string | number)[];
  readonly message: string;
}

/** What is wrong with the names in a config. */
export function problemsOf({ stage: stages, result }: Stages): Problem[] {
  const names = stages.map(({ name }) => name);
  const problems: Problem[] = [];
  for (const [i, stage] of stages.entries()) {
    const own = (message: string) => problems.push({ path: ["stage", i, "name"], message });
    if (stage.name === NEW) own("new stands for a new model; choose another");
    if (reservedNames.includes(stage.name)) own(`every run has a folder of the name ${stage.name}; choose another`);
    if (names.indexOf(stage.name) < i) own(`another stage is named ${stage.name} too; give each its own name`);
    for (const [key, name] of Object.entries(kindOf(stage).reads(stage))) {
      if (name === undefined) continue;
      const [field = key, ...places] = key.split(/[ .]/).map((word) => (/^\d+$/.test(word) ? Number(word) - 1 : word));
      const measuring = stages.slice(0, i).some((other) => other.name === name && !makesModel(other));
      const message = measuring
        ? `stage ${name} only measures, and makes no model`
        : problemOf(name, i, names, field === "rewards" ? ruleNear(name) : undefined);
      if (message) problems.push({ path: ["stage", i, field, ...places], message });
      if (name === NEW && key !== "from")
        problems.push({ path: ["stage", i, field], message: "a new model can only be gone on from" });
    }
    // A student that its stage makes itself reads text as its teacher does.
    const made = "teacher" in stage && stage.from === undefined;
    if ("model" in stage && stage.model && stage.from !== NEW && !made)
      problems.push({
        path: ["stage", i, "model"],
        message: `only a stage with from = "${NEW}" has a model of its own`,
      });
  }
  if (result !== undefined && !names.includes(result))
    problems.push({ path: ["result"], message: `there is no stage ${result}; there are ${names.join(", ")}` });
  if (stages.some((stage) => stage.name === result && !makesModel(stage)))
    problems.push({ path: ["result"], message: `stage ${result} only measures, and makes no model` });
  return problems;
}

function problemOf(name: string, i: number, names: readonly string[], rule?: string): string | null {
  if (name === NEW || names.slice(0, i).includes(name)) return null;
  if (names.indexOf(name) === i) return `stage ${names[i]} names itself`;
  if (names.includes(name)) return `stage ${names[i]} names ${name}, which comes later: move it up`;
  if (existsSync(findFile(name)) || isHubName(name)) return null;
  const near = nearest(name, names.slice(0, i)) ?? rule;
  return `${name} is no ${rule === undefined ? "" : "rule, no "}earlier stage, no path and no name on the Hub${near ? `; did you mean ${near}?` : ""}`;
}
