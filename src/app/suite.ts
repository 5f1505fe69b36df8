/** A suite: a file in TOML that says what is measured of which models. */
import { z } from "zod";
import { spooled } from "../data/spool";
import { UserError } from "../errors";
import { readTextFile } from "../files";
import { type Entry, entriesWith, entryProblems } from "../stages/evals/entries";
import { type Asked, askedOf } from "../stages/evals/suite";
import { besideEntry, besideOf, findingIn } from "./beside";
import { embeddedSuites, findFile } from "./embedded";
import { checkedToml, linesOf, parseToml } from "./toml";

const MODEL = "a run, a checkpoint, a model directory, or a Hub name";
const model = z.string().min(1);

const fields = z.strictObject({
  model: model.optional().meta({ description: `what is measured: ${MODEL}` }),
  models: z.array(model).min(1).optional().meta({ description: "several instead, side by side" }),
  eval: z
    .array(
      entriesWith({
        model: model.optional().meta({ description: "what is measured here; the suite's model or models if absent" }),
      }),
    )
    .min(1)
    .meta({ description: "what is measured, in order" }),
});

export const suiteSchema = fields.superRefine(({ model, models, eval: entries }, context) => {
  const refuse = (path: readonly PropertyKey[], message: string) =>
    context.addIssue({ code: "custom", path: [...path], message });
  if (model !== undefined && models !== undefined) refuse(["models"], "model names one too; give one of both");
  for (const { path, message } of entryProblems(entries)) refuse(["eval", ...path], message);
});

export type Suite = z.infer<typeof fields>;

/** On disk, or inside the program. What lies beside the file goes before what lies in the current folder. */
export async function readSuite(path: string): Promise<Suite> {
  const hint = `inside the program is ${embeddedSuites.join(", ")}`;
  const text = readTextFile(await spooled(findFile(path)), `the suite ${path}`, { hint, exitCode: 2 });
  const raw = parseToml(text, path);
  if ("stage" in raw && !("eval" in raw))
    throw new UserError(`${path} is a config of stages, and no suite of measurements`, {
      hint: `dawngrad run ${path} runs it; a suite has [[eval]] tables`,
      exitCode: 2,
    });
  const suite = checkedToml(suiteSchema, raw, {
    path,
    lines: linesOf(text),
    hint: "docs/config.md lists every key of a suite",
  });
  const folder = besideOf(path);
  return folder === undefined ? suite : besideSuite(suite, folder);
}

function besideSuite({ model, models, eval: entries }: Suite, folder: string): Suite {
  const finding = findingIn(folder, new Set(), []);
  return {
    ...(model !== undefined && { model: finding.model(model) }),
    ...(models && { models: models.map((one) => finding.model(one)) }),
    eval: entries.map((entry) => ({
      ...besideEntry(entry, finding, []),
      ...(entry.model !== undefined && { model: finding.model(entry.model) }),
    })),
  };
}

/** With these models instead of the suite's own; those of single entries stay. */
export function withModels(suite: Suite, models: readonly string[]): Suite {
  return models.length === 0 ? suite : { models: [...models], eval: suite.eval };
}

/** Everything that is to be measured. Throws a UserError where it is not said of what. */
export function askedIn({ model, models = model === undefined ? [] : [model], eval: entries }: Suite): Asked[] {
  const distinct = [...new Set(models)];
  for (const [i, { model, name }] of entries.entries())
    if (model === undefined && distinct.length === 0)
      throw new UserError(`eval[${i}]${name ? ` (${name})` : ""}: there is no model to measure`, {
        hint: "give --model, or model or models in the suite",
        exitCode: 2,
      });
  const named = (given: string) => ({ given, name: given });
  return askedOf(
    entries.map(({ model: _, ...entry }): Entry => entry),
    (_, i) => (entries[i]!.model === undefined ? distinct : [entries[i]!.model!]).map(named),
  );
}
