/** What can be known of a config to fail before anything is run: asked by `run`, and by `run --plan`. */
import { existsSync } from "node:fs";
import { unreadable } from "../files";
import type { Reporter } from "../log/console";
import { kindOf } from "../stages";
import { loadTokenizer } from "../text/tokenizer";
import type { Config } from "./config";
import { findFile } from "./embedded";
import type { Node } from "./graph";
import { isDataSet } from "./locate";
import { type plannedModel, plannedRead } from "./planned";
import { beginsNew } from "./sources";

export interface Scene {
  readonly config: Config;
  readonly console: Reporter;
  /** The folder of the config's file, where its relative paths were looked for first. */
  readonly beside?: string | undefined;
}

/** Throws a UserError where one of the stages would fail for what its settings, its files or its models are. */
export async function expectRunnable(nodes: Iterable<Node>, { config, console, beside }: Scene): Promise<void> {
  for (const node of nodes) {
    const { stage, reads } = node;
    const kind = kindOf(stage);
    for (const path of kind.data(stage)) {
      if (isDataSet(path) || existsSync(findFile(path))) continue;
      throw unreadable(path, { code: "ENOENT" }, { hint: `${lookedFor(beside)}; a data set goes by its name` });
    }
    if (beginsNew(node) && config.tokenizer.kind === "file") await expectTokenizer(config.tokenizer.path, beside);
    const models = new Map<string, Awaited<ReturnType<typeof plannedModel>>>();
    for (const [key, reference] of reads) models.set(key, await plannedRead(reference, node, config, console));
    kind.check(stage, { models, fresh: reads.get("from")?.to === "new" });
  }
}

async function expectTokenizer(path: string, beside: string | undefined): Promise<void> {
  if (!existsSync(findFile(path))) throw unreadable(path, { code: "ENOENT" }, { hint: lookedFor(beside), exitCode: 1 });
  await loadTokenizer(path);
}

function lookedFor(beside: string | undefined): string {
  const where = [...(beside ? [`beside the config (${beside})`] : []), "in the current folder", "inside the program"];
  return `it was looked for ${where.slice(0, -1).join(", ")} and ${where.at(-1)}`;
}
