/**
 * Tasks of continuations, as lm-evaluation-harness 0.4.13 asks them: what a record is read as, and what is told of it. Texts are cut and
 * capitalised as Python does it, on which its numbers stand.
 */
import { z } from "zod";
import type { Row } from "../data/row";
import { shown, UserError } from "../errors";
import { firstIssue } from "../files";

/** A context, and texts of which each may follow it. */
export interface Question {
  readonly context: string;
  /** As they follow the context, the space between included. */
  readonly continuations: readonly string[];
  /** The same as the record has them: what a length is taken of. */
  readonly choices: readonly string[];
  /** Which of them is right, from 0. */
  readonly gold: number;
}

export interface Asked extends Question {
  readonly where: string;
}

export const metricNames = ["acc", "acc_norm", "acc_bytes", "perplexity"] as const;
export type Metric = (typeof metricNames)[number];

export interface Task {
  /** The fields of a record, for people. */
  readonly fields: string;
  readonly metrics: readonly Metric[];
  /** A single continuation is right where it is what the model would say, and not where it is the likeliest of several. */
  readonly words?: boolean;
  /** A record as a question, or what is wrong with it. Throws zod's error where a field is not what it should be. */
  read(fields: Row["fields"]): Question | string;
}

const choicesOf = z.array(z.string()).min(1);
const indexOrText = z.union([z.number(), z.string()], { error: "expected a number or a text" });
const several: readonly Metric[] = ["acc", "acc_norm", "acc_bytes"];

const swag = z.object({
  activity_label: z.string(),
  ctx_a: z.string(),
  ctx_b: z.string(),
  endings: choicesOf,
  label: indexOrText,
});
const arc = z.object({
  question: z.string(),
  choices: z.object({ text: choicesOf, label: z.array(z.string()) }),
  answerKey: z.string(),
});
const pair = z.object({ sentence_good: z.string(), sentence_bad: z.string() });
const passage = z.object({ text: z.string().min(1, "expected a text with a word") });
const plain = z.object({ choices: choicesOf });

export const tasks = {
  hellaswag: {
    fields: "activity_label, ctx_a, ctx_b, endings (a list of texts) and label (which of them is right, from 0)",
    metrics: several,
    read(fields) {
      const { activity_label: activity, ctx_a: a, ctx_b: b, endings, label } = swag.parse(fields);
      return chosen(
        withoutMarks(`${activity}: ${a} ${capitalised(b)}`),
        endings.map(withoutMarks),
        placeOf(label, "label", endings),
      );
    },
  },
  arc: {
    fields: "question, choices (text and label, lists of equal length) and answerKey (one of the labels)",
    metrics: several,
    read(fields) {
      const { question, choices, answerKey } = arc.parse(fields);
      const { text, label } = choices;
      if (text.length !== label.length) return `choices has ${text.length} texts and ${label.length} labels`;
      const gold = label.indexOf(answerKey);
      if (gold < 0) return `answerKey is ${shown(answerKey)}, and the labels are ${label.join(", ")}`;
      return chosen(`Question: ${question}\nAnswer:`, text, gold);
    },
  },
  blimp: {
    fields: "sentence_good and sentence_bad",
    metrics: ["acc"],
    read(fields) {
      const { sentence_good: good, sentence_bad: bad } = pair.parse(fields);
      return chosen("", [good, bad], 0);
    },
  },
  lambada: {
    fields: "text, the last word of which is asked for",
    metrics: ["acc", "perplexity"],
    words: true,
    read(fields) {
      const words = passage.parse(fields).text.split(" ");
      const last = words.pop()!;
      return { context: words.join(" "), continuations: [` ${last}`], choices: [last], gold: 0 };
    },
  },
  choice: {
    fields:
      "context (or query), choices (a list of texts) and gold (or answer: which of them is right, from 0, or its text)",
    metrics: several,
    read(fields) {
      const { choices } = plain.parse(fields);
      const [context, contextName] = either(fields, "context", "query");
      const [gold, goldName] = either(fields, "gold", "answer");
      if (typeof context !== "string") return `${contextName}: expected string`;
      if (typeof gold === "string" && choices.includes(gold)) return chosen(context, choices, choices.indexOf(gold));
      return chosen(context, choices, placeOf(gold, goldName, choices));
    },
  },
} as const satisfies Readonly<Record<string, Task>>;

export type TaskName = keyof typeof tasks;
export const taskNames = Object.keys(tasks) as readonly TaskName[];

/** The questions of a file's rows, in their order. Throws a UserError at the first that is none. */
export function questionsIn(rows: readonly Row[], name: TaskName): Asked[] {
  return rows.map(({ fields, where }) => ({ ...questionOf(fields, where, name), where }));
}

function questionOf(fields: Row["fields"], where: string, name: TaskName): Question {
  const task: Task = tasks[name];
  let found: Question | string;
  try {
    found = task.read(fields);
  } catch (error) {
    const issue = error instanceof WrongField ? error.message : firstIssue(error);
    if (issue === null) throw error;
    found = issue;
  }
  if (typeof found !== "string") return found;
  throw new UserError(`${where} is no record of ${name}, which has ${task.fields}: ${found}`);
}

class WrongField extends Error {}

function chosen(context: string, choices: readonly string[], gold: number): Question {
  return { context, continuations: choices.map((choice) => ` ${choice}`), choices, gold };
}

/** The first of two fields that is there, and its name. */
function either(fields: Row["fields"], first: string, second: string): readonly [value: unknown, name: string] {
  return fields[first] === undefined && fields[second] !== undefined
    ? [fields[second], second]
    : [fields[first], first];
}

/** Which of the choices a number, or a text of digits, stands for. */
function placeOf(value: unknown, name: string, choices: readonly string[]): number {
  const place = typeof value === "string" && /^\d+$/.test(value.trim()) ? Number(value) : value;
  if (typeof place === "number" && Number.isInteger(place) && place >= 0 && place < choices.length) return place;
  throw new WrongField(`${name} is ${shown(value)}, expected a number from 0 to ${choices.length - 1}`);
}

/** HellaSwag's texts without what WikiHow's marks have left in them. */
function withoutMarks(text: string): string {
  return strip(text)
    .replaceAll(" [title]", ". ")
    .replace(/\[[^\n]*?\]/g, "")
    .replaceAll("  ", " ");
}

/** What Python takes for white space: JavaScript's, the separators of ASCII and "next line" with it, the byte-order mark not. */
function isSpace(character: string): boolean {
  if (character >= "\x1c" && character <= "\x1f") return true;
  return character === "\x85" || (/\s/.test(character) && character !== "\ufeff");
}

/** Python's str.strip. */
function strip(text: string): string {
  let begin = 0;
  while (begin < text.length && isSpace(text[begin]!)) begin++;
  return trimmedEnd(text.slice(begin));
}

/** Python's str.rstrip. */
export function trimmedEnd(text: string): string {
  let end = text.length;
  while (end > 0 && isSpace(text[end - 1]!)) end--;
  return text.slice(0, end);
}

/**
 * Python's str.capitalize: the first letter large and all others small, also those that were large. Letters whose form at the beginning
 * of a word is one of its own (digraphs, Greek with iota) get their capital.
 */
export function capitalised(text: string): string {
  const [first = ""] = text;
  const [large = "", ...more] = first.toUpperCase();
  // As a whole: how a sigma is written depends on what is before it.
  return large + more.join("").toLowerCase() + text.toLowerCase().slice(first.toLowerCase().length);
}
