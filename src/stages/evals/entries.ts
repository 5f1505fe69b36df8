/** What may be measured of a model, as a config or a suite says it: the kinds of measurement, and the keys of each. */
import { z } from "zod";
import { taskNames } from "../../eval/choice-tasks";
import { sampling } from "../../generate/sampling";
import { ruleNames } from "../../rewards/rules";
import { records } from "../examples";

const data = (description: string) => z.string().min(1).meta({ description, neutral: true });

const TOGETHER = "answers that run together";
const batch = (fallback: number, description: string) =>
  z.int().min(1).max(4096).default(fallback).meta({ description });

/** What a model is asked, and how much it may say. */
export const asked = z.strictObject({
  template: records.template,
  limit: z.int().min(0).default(0).meta({ description: "only so many records, chosen by seed 1337; 0 for all" }),
  batch: batch(16, TOGETHER),
  maxTokens: z.int().min(1).default(64).meta({ description: "tokens of an answer at most" }),
});

const temperature = (fallback: number) =>
  sampling.shape.temperature.unwrap().default(fallback).meta({
    description: "0, and all below 1e-6, takes the likeliest token; higher is more random",
  });
const { seed } = sampling.shape;

const rule = z
  .string()
  .min(1)
  .meta({
    description: `a TypeScript or JavaScript module, score(messages, answer, columns) of which returns a number or null; or a name: ${ruleNames.map(({ name }) => name).join(", ")}`,
    named: true,
  });

export const perplexity = z.strictObject({
  data: data("a text file"),
  context: z.int().min(1).optional().meta({ description: "tokens that a window sees; the model's context if absent" }),
  stride: z.int().min(1).optional().meta({
    description: "tokens that a window scores; half the context if absent; the context: disjoint windows",
  }),
});

export const answers = z.strictObject({
  data: data("instructions, conversations, or pairs, of which the chosen answer is the expected one"),
  ...asked.shape,
  ownHistory: z.boolean().default(false).meta({ description: "later turns follow the model's own answers" }),
});

export const byRule = z.strictObject({
  data: data("instructions, conversations, pairs or prompts"),
  rule,
  ...asked.shape,
  temperature: temperature(0),
  seed,
  samples: z.int().min(1).max(4096).default(1).meta({ description: "answers of each question" }),
  passAt: z.array(z.int().min(1)).default([]).meta({
    description: "how often at least one of so many answers gets a score of 1, without bias, from samples of them",
  }),
  by: z.string().min(1).optional().meta({
    description: "a column of the records: the means of each of its values too",
  }),
});

export const choice = z.strictObject({
  task: z.enum(taskNames).meta({ description: "what the records are" }),
  data: data("a data file, or a folder: every *.jsonl in it"),
  limit: z.int().min(0).default(0).meta({ description: "only so many records of a file, its first; 0 for all" }),
  batch: batch(32, "continuations that run together"),
});

const MODEL = "in a pipeline perhaps an earlier stage; a run, a checkpoint, a directory, a Hub name";
const rewardModel = z
  .string()
  .min(1)
  .meta({ description: `a reward model: ${MODEL}`, neutral: true });

export const bestOf = z.strictObject({
  data: data("prompts, with or without answers"),
  reward: rewardModel,
  rule: rule.optional(),
  ...asked.shape,
  batch: batch(64, TOGETHER),
  temperature: temperature(1),
  seed,
  samples: z.int().min(2).max(4096).default(4).meta({ description: "answers of each prompt" }),
});

export const compare = z.strictObject({
  data: data("prompts, instructions or conversations"),
  against: z
    .string()
    .min(1)
    .meta({ description: `the model that it is compared with: ${MODEL}`, neutral: true }),
  reward: rewardModel.optional(),
  rule: rule.optional(),
  ...asked.shape,
  temperature: temperature(0),
  seed,
});

const name = z
  .string()
  .regex(/^\S(.{0,98}\S)?$/, "expected up to 100 characters, the first and the last no white space")
  .optional()
  .meta({ description: "what it is called; its kind if absent, with a number where there are several", neutral: true });

const shapes = {
  perplexity: perplexity.shape,
  answers: answers.shape,
  rule: byRule.shape,
  choice: choice.shape,
  "best-of": bestOf.shape,
  compare: compare.shape,
};

export type EntryKind = keyof typeof shapes;
export const entryKinds = Object.keys(shapes) as EntryKind[];

const says: Readonly<Record<EntryKind, string>> = {
  perplexity: "how well a model predicts a text, by a sliding window",
  answers: "how often greedy answers are those of the data, word for word",
  rule: "what answers get by a rule",
  choice: "which of several texts a model finds likeliest to follow another",
  "best-of": "the best of several answers by a reward model",
  compare: "how often answers beat those of another model, by a reward model, by a rule, or by both",
};

/** A measurement, told apart by its `kind`; `more`: keys that all have besides. */
export function entriesWith<M extends z.ZodRawShape>(more: M) {
  const of = <K extends EntryKind>(kind: K) =>
    z.strictObject({ kind: z.literal(kind).meta({ description: says[kind] }), name, ...more, ...shapes[kind] });
  return z.discriminatedUnion("kind", [
    of("perplexity"),
    of("answers"),
    of("rule"),
    of("choice"),
    of("best-of"),
    of("compare"),
  ]);
}

export const entry = entriesWith({});
export type Entry = z.infer<typeof entry>;

/** What is wrong with settings that are right one by one: the key that is to be changed, and why. Null where nothing is. */
export function entryProblem(entry: Entry): { readonly key: string; readonly message: string } | null {
  switch (entry.kind) {
    case "perplexity": {
      const { context, stride } = entry;
      if (context === undefined || stride === undefined || stride <= context) return null;
      return { key: "stride", message: `a window of ${context} tokens cannot score ${stride}` };
    }
    case "rule": {
      const { samples, temperature, passAt } = entry;
      if (samples > 1 && temperature === 0)
        return { key: "samples", message: `${samples} answers are all the same at temperature 0` };
      const most = Math.max(0, ...passAt);
      if (most > samples)
        return { key: "passAt", message: `${most} wants ${most} answers of each question, and samples is ${samples}` };
      return null;
    }
    case "best-of":
      return entry.temperature > 0
        ? null
        : { key: "temperature", message: "at temperature 0 all answers of a prompt are the same" };
    case "compare":
      return entry.rule === undefined && entry.reward === undefined
        ? { key: "reward", message: "nothing says which answer is better: give reward, rule, or both" }
        : null;
    case "answers":
    case "choice":
      return null;
    default:
      throw new Error(`entry ${entry satisfies never}`);
  }
}

/** The models that an entry reads besides the one that is measured, by their keys. */
export function othersOf(entry: Entry): Readonly<Partial<Record<Other, string>>> {
  return Object.fromEntries(
    others.flatMap((key) => {
      const given = (entry as { readonly [K in Other]?: string | undefined })[key];
      return given === undefined ? [] : [[key, given]];
    }),
  );
}

export const others = ["reward", "against"] as const;
export type Other = (typeof others)[number];

/** By what they are called: as they say, else by their kind, with a number where that is taken. */
export function namesOf(entries: readonly Pick<Entry, "kind" | "name">[]): string[] {
  const taken = new Set(entries.flatMap(({ name }) => name ?? []));
  return entries.map(({ kind, name }) => {
    if (name !== undefined) return name;
    let free: string = kind;
    for (let i = 2; taken.has(free); i++) free = `${kind}-${i}`;
    taken.add(free);
    return free;
  });
}

interface Problem {
  readonly path: readonly (string | number)[];
  readonly message: string;
}

/** What is wrong with a list of entries, by the place of each. */
export function entryProblems(entries: readonly Entry[]): Problem[] {
  return entries.flatMap((entry, i): Problem[] => {
    const problem = entryProblem(entry);
    const twice =
      entry.name !== undefined && entries.slice(0, i).some(({ name }) => name === entry.name)
        ? [{ path: [i, "name"], message: `another is named ${entry.name} too; give each its own name` }]
        : [];
    return [...twice, ...(problem ? [{ path: [i, problem.key], message: problem.message }] : [])];
  });
}
