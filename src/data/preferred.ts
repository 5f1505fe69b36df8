/** What records of preferences say, whichever way they say it: pairs of answers, or answers that are good or bad. */
import { UserError } from "../errors";
import { nearest } from "../text/nearest";
import type { Message } from "../text/template";
import type { Sample } from "./formats";
import { isObject } from "./json";
import { rankedReplies, type TreeOptions } from "./oasst";
import { answered, answers, asked, pairOf } from "./prompted";
import type { BadRow, Row } from "./row";
import { type Sides, sampleOf, sidesOf, wordsOf } from "./sides";
import { type Note, unreadOf } from "./turns";

export const preferenceFormats = ["pairs", "ultrafeedback", "summaries", "oasst", "oasst-messages", "labels"] as const;
export type PreferenceFormat = (typeof preferenceFormats)[number];

export type Pair = Sides & { readonly kind: "pair"; readonly margin: number | null };
export interface Labelled {
  readonly kind: "labelled";
  readonly prompt: string;
  readonly answer: Sample;
  readonly good: boolean;
}
export type Preference = Pair | Labelled;

export type LocatedPreference = Preference & {
  readonly where: string;
  /** What its record says besides, and nobody reads: names of fields. */
  readonly unread?: readonly string[];
};

/** The fields by which each format is known, the first that fits; of `labels` one of several. */
const known: readonly (readonly [PreferenceFormat, readonly string[]])[] = [
  ["oasst", ["message_tree_id", "prompt"]],
  ["oasst-messages", ["message_id", "parent_id", "role", "text"]],
  ["summaries", ["info", "summaries", "choice"]],
  ["ultrafeedback", ["instruction", "completions"]],
  ["pairs", ["chosen", "rejected"]],
  ["labels", ["label", "completion"]],
  ["labels", ["label", "output"]],
  ["labels", ["label", "response"]],
  ["labels", ["label", "messages"]],
  ["labels", ["label", "conversations"]],
];

export function preferenceFormatOf(fields: Row["fields"]): PreferenceFormat | undefined {
  return known.find(([, names]) => names.every((name) => name in fields))?.[0];
}

/** Whether records like these are there for what they prefer; message trees are examples too, and count as those. */
export function arePreferences(rows: readonly Row[]): boolean {
  const found = rows.slice(0, 20).map(({ fields }) => preferenceFormatOf(fields));
  const format = found.find((one) => one !== undefined);
  return format !== undefined && format !== "oasst" && format !== "oasst-messages";
}

/** The format of records like these; the first ones decide. Throws a UserError that names their fields. */
export function recognisePreferences(rows: readonly Row[]): PreferenceFormat {
  for (const { fields } of rows.slice(0, 20)) {
    const found = preferenceFormatOf(fields);
    if (found) return found;
  }
  const { fields, where } = rows[0]!;
  const names = Object.keys(fields);
  const all = [...new Set(known.flatMap(([, names]) => names))];
  const meant = names.filter((name) => !all.includes(name)).flatMap((name) => nearest(name, all) ?? []);
  throw new UserError(
    `${where} has the fields ${names.join(", ") || "(none)"}, and says of no answer that it is better`,
    {
      hint: meant.length
        ? `did you mean ${meant.join(", ")}?`
        : `known are ${known
            .toReversed()
            .toSorted(([a], [b]) => Number(b === "pairs") - Number(a === "pairs"))
            .map(([format, names]) => `${format} (${names.join(", ")})`)
            .join("; ")}`,
    },
  );
}

export interface ConvertedPreferences {
  readonly preferences: readonly LocatedPreference[];
  readonly read: number;
  readonly bad: readonly BadRow[];
}

/** Of answers that are ranked: every two that differ are a pair, or the best with the worst alone. */
export const rankings = ["all", "ends"] as const;
export type Ranking = (typeof rankings)[number];

/** Every record as what it prefers, or as the reason why it says nothing. A record with several answers may give several pairs. */
export function convertPreferences(
  rows: readonly Row[],
  format: PreferenceFormat,
  trees: TreeOptions,
  ranking: Ranking = "all",
): ConvertedPreferences {
  if (format === "oasst" || format === "oasst-messages") return convertTrees(rows, format, trees, ranking);
  const preferences: LocatedPreference[] = [];
  const bad: BadRow[] = [];
  for (const { fields, where } of rows) {
    const unread = new Set(unreadOf(fields, read[format]));
    const problems = new Set<string>();
    const result = converters[format](
      fields,
      (name) => unread.add(name),
      (problem) => problems.add(problem),
      ranking,
    );
    if (typeof result === "string") {
      bad.push({ where, problem: result });
      continue;
    }
    for (const problem of problems) bad.push({ where, problem });
    for (const one of result) preferences.push({ ...one, where, ...(unread.size > 0 && { unread: [...unread] }) });
  }
  return { preferences, read: rows.length, bad };
}

type Fields = Row["fields"];
/** `problem`: called with what is wrong with one of several pairs. */
type Converter = (
  fields: Fields,
  note: Note,
  problem: (what: string) => void,
  ranking: Ranking,
) => readonly Preference[] | string;

/** What of a record is read; which of what may be asked and answered is not, is told where it is seen. */
const read: Readonly<Record<Exclude<PreferenceFormat, "oasst" | "oasst-messages">, readonly string[]>> = {
  pairs: [...asked, "chosen", "rejected", "margin"],
  ultrafeedback: ["instruction", "completions"],
  summaries: ["info", "summaries", "choice"],
  labels: [...asked, ...answers, "label"],
};

const converters: Readonly<Record<Exclude<PreferenceFormat, "oasst" | "oasst-messages">, Converter>> = {
  pairs(fields, note) {
    const sides = pairOf(fields, note);
    if (typeof sides === "string") return sides;
    const { margin } = fields;
    if (margin === undefined || margin === null || margin === "") return [{ kind: "pair", ...sides, margin: null }];
    const by = numberIn(margin);
    if (by === null) return "margin is not a number";
    return [{ kind: "pair", ...sides, margin: by }];
  },
  ultrafeedback({ instruction, completions }, note, problem, ranking) {
    if (typeof instruction !== "string" || instruction.trim() === "") return "instruction is not a text";
    if (!Array.isArray(completions)) return "completions is not a list";
    const answers = completions.flatMap((one: unknown) => {
      if (!isObject(one) || typeof one.response !== "string" || one.response.trim() === "") return [];
      const score = scoreOf(one);
      return score === null ? [] : [{ content: one.response, score }];
    });
    if (answers.length < completions.length) note("completions without a response or a score");
    const prompt: Message[] = [{ role: "user", content: instruction }];
    const pair = (better: Scored, worse: Scored) => sidesOf(prompt, better.content, worse.content, note);
    return rankedPairs(chosenFrom(answers, ranking), pair, problem);
  },
  summaries({ info, summaries, choice }, note) {
    if (!isObject(info)) return "info is no object";
    const prompt = postOf(info);
    if (prompt === null) return "info has neither a post nor an article";
    const texts = Array.isArray(summaries) ? summaries.map((one: unknown) => (isObject(one) ? one.text : one)) : [];
    if (texts.length !== 2 || !texts.every((text) => typeof text === "string")) return "summaries are not two texts";
    const better = numberIn(choice);
    if (better !== 0 && better !== 1) return "choice is neither 0 nor 1";
    const text = (i: number) => ` ${(texts[i] as string).trim()}`;
    const sides = sidesOf(prompt, text(better), text(1 - better), note);
    return typeof sides === "string" ? sides : [{ kind: "pair", ...sides, margin: null }];
  },
  labels(fields, note) {
    const good = labelOf(fields.label);
    if (good === null) return `label is ${JSON.stringify(fields.label)}, expected true or false, good or bad, 1 or 0`;
    const found = answered(fields, note);
    if (typeof found === "string") return found;
    const answer = sampleOf(found.prompt, found.answer, note);
    return typeof answer === "string" ? answer : [{ kind: "labelled", prompt: wordsOf(found.prompt), answer, good }];
  },
};

const labels: ReadonlyMap<unknown, boolean> = new Map<unknown, boolean>([
  ...["true", "1", "good", "desirable", "chosen", "thumbs_up"].map((name) => [name, true] as const),
  ...["false", "0", "bad", "undesirable", "rejected", "thumbs_down"].map((name) => [name, false] as const),
]);

/** A number, or in a table its digits. */
function numberIn(value: unknown): number | null {
  const number = typeof value === "string" && value.trim() !== "" ? Number(value) : value;
  return typeof number === "number" && Number.isFinite(number) ? number : null;
}

function labelOf(label: unknown): boolean | null {
  if (typeof label === "object") return null;
  return labels.get(String(label).trim().toLowerCase()) ?? null;
}

interface Scored {
  readonly content: string;
  readonly score: number;
}

/** All of them, or the best and the worst: the first ones of their scores. */
function chosenFrom(answers: readonly Scored[], ranking: Ranking): readonly Scored[] {
  if (ranking === "all" || answers.length < 3) return answers;
  const by = [...answers].sort((a, b) => b.score - a.score);
  return [by[0]!, by.at(-1)!];
}

/** Every pair of answers that differ in their score, the higher one chosen. */
function rankedPairs<T extends Scored>(
  answers: readonly T[],
  pair: (better: T, worse: T) => Sides | string,
  problem: (what: string) => void,
): readonly Preference[] | string {
  const found: Preference[] = [];
  let differ = false;
  for (const better of answers) {
    for (const worse of answers) {
      if (better.score <= worse.score) continue;
      differ = true;
      const sides = pair(better, worse);
      if (typeof sides === "string") problem(sides);
      else found.push({ kind: "pair", ...sides, margin: null });
    }
  }
  return differ ? found : "no two answers differ in their score";
}

/** UltraFeedback's (https://arxiv.org/abs/2310.01377): the score of the answer as a whole, or the mean of its parts. */
function scoreOf(completion: Readonly<Record<string, unknown>>): number | null {
  for (const name of ["overall_score", "fine-grained_score", "score", "rating"]) {
    const score = completion[name];
    if (score === undefined || score === null || score === "") continue;
    return numberIn(score);
  }
  return null;
}

/** As https://arxiv.org/abs/2009.01325 puts a post before its summary, table 6. */
function postOf({ subreddit, title, post, article }: Readonly<Record<string, unknown>>): string | null {
  const text = [post, article].find((one) => typeof one === "string" && one.trim() !== "");
  if (typeof text !== "string") return null;
  const head = [
    typeof subreddit === "string" && subreddit !== "" && `SUBREDDIT: r/${subreddit.replace(/^r\//, "")}\n\n`,
    typeof title === "string" && title !== "" && `TITLE: ${title}\n\n`,
  ];
  return `${head.filter(Boolean).join("")}POST: ${text.trim()}\n\nTL;DR:`;
}

/** Sibling answers of message trees that differ in their rank. */
function convertTrees(
  rows: readonly Row[],
  format: "oasst" | "oasst-messages",
  options: TreeOptions,
  ranking: Ranking,
): ConvertedPreferences {
  const { groups, read, bad: lost } = rankedReplies(rows, format, options);
  const preferences: LocatedPreference[] = [];
  const bad = [...lost];
  for (const { prompt, replies, where } of groups) {
    const answers = replies.map(({ text, rank }) => ({ content: text, score: -rank }));
    const problems = new Set<string>();
    const found = rankedPairs(
      chosenFrom(answers, ranking),
      (better, worse) => sidesOf(prompt, better.content, worse.content, () => {}),
      (problem) => problems.add(problem),
    );
    for (const problem of typeof found === "string" ? [found] : problems) bad.push({ where, problem });
    if (typeof found !== "string") for (const one of found) preferences.push({ ...one, where });
  }
  return { preferences, read, bad };
}
