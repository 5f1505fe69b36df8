/** Measurements of models: of the stage before, or of several side by side. Makes no model, and nothing goes on from it. */
import { readdirSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { z } from "zod";
import { UserError } from "../errors";
import { raw, readNormalisation } from "../formats/normalisation";
import { Engine } from "../generate/engine";
import { keptAside, RESULTS_FILE } from "../train/run-folder";
import { stageName } from "../train/settings";
import { type Entry, entry, entryProblems, othersOf } from "./evals/entries";
import { expectEntryFits, filesOf } from "./evals/measure";
import { keptResults, type Result, writeResults } from "./evals/results";
import type { Scorer } from "./evals/subject";
import { askedOf, measureAll } from "./evals/suite";
import { tableOf } from "./evals/table";
import type { Kind, RunContext } from "./kind";

const fields = z.strictObject({
  kind: z.literal("eval").meta({ description: "measurements of models, which train nothing and make no model" }),
  name: stageName("eval"),
  from: z.string().min(1).optional().meta({
    description: "the model: an earlier stage, a run, a directory, a Hub name; the last stage with a model if absent",
    neutral: true,
  }),
  models: z.array(z.string().min(1)).min(1).optional().meta({
    description: "several models instead of from: everything is measured of each, side by side",
    neutral: true,
  }),
  evals: z.array(entry).min(1).meta({ description: "what is measured" }),
});

export type EvalConfig = z.infer<typeof fields>;

export const schema = fields.superRefine(({ from, models, evals }, context) => {
  const refuse = (path: readonly PropertyKey[], message: string) =>
    context.addIssue({ code: "custom", path: [...path], message });
  if (from !== undefined && models !== undefined) refuse(["models"], "from names a model too; give one of both");
  if (models && new Set(models).size < models.length) refuse(["models"], "one of them is named twice");
  for (const { path, message } of entryProblems(evals)) refuse(["evals", ...path], message);
});

/** The keys of `reads` for what is measured. */
const modelKeys = ({ models }: Pick<EvalConfig, "models">) => models?.map((_, i) => `models ${i + 1}`) ?? ["from"];
/** That of another model that an entry reads. */
const otherKey = (i: number, key: string) => `evals.${i + 1}.${key}`;
const keyedOthers = (entry: Entry, i: number) =>
  Object.fromEntries(Object.keys(othersOf(entry)).map((key) => [key, otherKey(i, key)]));

export const evaluation: Kind<EvalConfig> = {
  schema,
  version: 1,
  measures: true,
  reads: ({ from, models, evals }) => ({
    ...(models ? Object.fromEntries(models.map((name, i) => [`models ${i + 1}`, name])) : { from }),
    ...Object.fromEntries(
      evals.flatMap((entry, i) => Object.entries(othersOf(entry)).map(([key, name]) => [otherKey(i, key), name])),
    ),
  }),
  data: ({ evals }) => [...new Set(evals.flatMap(filesOf))],
  check({ name, models: names, evals }, { models, fresh }) {
    const refuse = (problem: string, hint: string) => {
      throw new UserError(problem, { hint: `stage ${name}: ${hint}`, exitCode: 2 });
    };
    if (fresh) refuse("there is no trained model to measure", "give from or models, or a stage before it");
    for (const [i, key] of modelKeys({ models: names }).entries()) {
      const sizes = models.get(key)!;
      if (sizes.scalar)
        refuse(`${names?.[i] ?? "the model"} is a reward model, and a model that writes is wanted`, "give another");
      for (const entry of evals) expectEntryFits(entry, sizes);
    }
    for (const [i, entry] of evals.entries()) {
      const { reward, against } = othersOf(entry);
      if (reward !== undefined && !models.get(otherKey(i, "reward"))!.scalar)
        refuse(`${reward} has no scalar head: it is no reward model`, "a stage of kind reward makes one");
      if (against !== undefined && models.get(otherKey(i, "against"))!.scalar)
        refuse(`${against} is a reward model, and a model that writes is wanted`, "give another");
    }
  },
  outline: ({ evals }) => ({
    lines: evals.map((entry) => `${entry.name ? `${entry.name}: ` : ""}${entry.kind} on ${entry.data}`),
    trained: null,
  }),
  async run(config, context) {
    const { name, evals } = config;
    const { device, directory, console, find, signal } = context;
    const asked = askedOf(
      evals,
      () => modelKeys(config).map((given) => ({ given, name: context.nameOf(given) })),
      keyedOthers,
    );
    const path = join(directory, RESULTS_FILE);
    const hashes = new Map<string, Promise<string>>();
    const done = await measureAll(asked, {
      device,
      console: { ...console, note: (line) => console.note(`${name}: ${line}`) },
      find,
      signal,
      known: [directory, ...(context.fresh ? [] : formerFolders(directory))].flatMap((folder) =>
        readKept(join(folder, RESULTS_FILE)),
      ),
      open: (key) => opened(key, context),
      openOther: (key) => opened(key, context),
      hashOfFile: context.hashOfFile,
      hashOfModel(key) {
        const known = hashes.get(key) ?? folderOf(key, context).then(context.hashOfModel);
        hashes.set(key, known);
        return known;
      },
      save: (done) => writeResults(path, { config: asConfig(config), ...done, former: [] }),
    });
    const { results, failures } = done;
    if (results.length + failures.length < asked.length) return "interrupted";
    for (const line of tableOf(done)) console.note(line);
    if (failures.length > 0)
      throw new UserError(`${name}: ${failures.length} of ${asked.length} were not measured: ${failures[0]!.error}`, {
        hint: `${path} keeps the others: mend that and run the same command again`,
      });
    return "finished";
  },
};

function asConfig({ models, from, evals }: EvalConfig) {
  return { from, models, evals };
}

/** Results of this stage that others took the place of: some of what they have may be wanted again. */
function formerFolders(directory: string): string[] {
  const run = dirname(directory);
  const aside = keptAside(basename(directory), "");
  return readdirSync(run).flatMap((name) => (name.startsWith(aside) ? [join(run, name)] : []));
}

/** A file that cannot be read keeps nothing. */
function readKept(path: string): Result[] {
  try {
    return keptResults(path);
  } catch (error) {
    if (error instanceof UserError) return [];
    throw error;
  }
}

async function folderOf(key: string, { locate, nameOf }: RunContext): Promise<string> {
  const folder = await locate(key);
  if (folder === null) throw new UserError(`${nameOf(key)} is no trained model`, { exitCode: 2 });
  return folder;
}

async function opened(key: string, context: RunContext): Promise<Scorer & Disposable> {
  const folder = await folderOf(key, context);
  const { model, weights, tokenizer } = await context.open(key, { storage: "auto" });
  const slabs = [weights];
  const engine = new Engine(context.device, model, slabs);
  return {
    device: context.device,
    model,
    slabs,
    tokenizer,
    engine,
    normalisation: readNormalisation(folder) ?? raw,
    [Symbol.dispose]() {
      for (const owned of [engine, weights]) owned[Symbol.dispose]();
    },
  };
}
