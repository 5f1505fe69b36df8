/** What records say, whichever way they say it: each becomes a conversation, a prompt with its completion, or a text. */

import { UserError } from "../errors";
import { nearest } from "../text/nearest";
import type { Message } from "../text/template";
import { conversationsOf, type TreeOptions } from "./oasst";
import type { BadRow, Row } from "./row";
import {
  afterSystem,
  type Conversation,
  conversation,
  type Note,
  pastTurns,
  type Turns,
  turnsOf,
  unreadOf,
} from "./turns";

export const formats = [
  "alpaca",
  "instruction",
  "completion",
  "question",
  "messages",
  "sharegpt",
  "oasst",
  "oasst-messages",
  "text",
] as const;
export type Format = (typeof formats)[number];

export type Sample =
  | Conversation
  | { readonly kind: "completion"; readonly prompt: string; readonly completion: string }
  | { readonly kind: "text"; readonly text: string };

export type Located = Sample & {
  readonly where: string;
  /** What its record says besides, and nobody reads: names of fields. */
  readonly unread?: readonly string[];
};

/** The fields by which each format is known. */
const required: Readonly<Record<Format, readonly string[]>> = {
  oasst: ["message_tree_id", "prompt"],
  "oasst-messages": ["message_id", "parent_id", "role", "text"],
  messages: ["messages"],
  sharegpt: ["conversations"],
  alpaca: ["instruction", "output"],
  instruction: ["instruction", "response"],
  completion: ["prompt", "completion"],
  question: ["question", "answer"],
  text: ["text"],
};

/** Fields that records of a format may have besides. */
const optional: Partial<Readonly<Record<Format, readonly string[]>>> = {
  alpaca: ["input", "context", "system", "history"],
  instruction: ["input", "context", "system", "history"],
  question: ["system"],
  messages: ["system"],
  sharegpt: ["system"],
};

/** The format that a record has the fields of. */
export function formatOf(fields: Row["fields"]): Format | undefined {
  return (Object.keys(required) as Format[]).find((format) => required[format].every((field) => field in fields));
}

/** The format of records like these; the first ones decide. Throws a UserError that names their fields. */
export function recognise(rows: readonly Row[]): Format {
  const known = Object.keys(required) as Format[];
  for (const { fields } of rows.slice(0, 20)) {
    const found = formatOf(fields);
    if (found) return found;
  }
  const { fields, where } = rows[0]!;
  const names = Object.keys(fields);
  const all = [...new Set(Object.values(required).flat())];
  const meant = names.filter((name) => !all.includes(name)).flatMap((name) => nearest(name, all) ?? []);
  throw new UserError(`${where} has the fields ${names.join(", ") || "(none)"}, which is no known format`, {
    hint: meant.length
      ? `did you mean ${meant.join(", ")}?`
      : `known are ${usualFirst(known)
          .map((format) => `${format} (${required[format].join(", ")})`)
          .join("; ")}`,
  });
}

/** Message trees, which are known first, are what the fewest have. */
function usualFirst(formats: readonly Format[]): Format[] {
  const [trees, others] = [true, false].map((tree) => formats.filter((name) => name.startsWith("oasst") === tree));
  return [...others!.toSorted((a, b) => Number(b === "alpaca") - Number(a === "alpaca")), ...trees!];
}

export interface Converted {
  readonly samples: readonly Located[];
  /** Records: rows, or where messages are rows, their trees and the messages that belong to none. */
  readonly read: number;
  /** Records that are not used, and why. */
  readonly bad: readonly BadRow[];
}

/** Every record as a sample, or as the reason why it is none. Trees may give several. */
export function convert(rows: readonly Row[], format: Format, trees: TreeOptions): Converted {
  if (format === "oasst" || format === "oasst-messages") return convertTrees(rows, format, trees);
  const samples: Located[] = [];
  const bad: BadRow[] = [];
  for (const { fields, where } of rows) {
    const unread = new Set(unreadOf(fields, [...required[format], ...(optional[format] ?? [])]));
    const result = converters[format](fields, (name) => unread.add(name));
    if (typeof result === "string") bad.push({ where, problem: result });
    else samples.push({ ...result, where, ...(unread.size > 0 && { unread: [...unread] }) });
  }
  return { samples, read: rows.length, bad };
}

type Fields = Row["fields"];
type Converter = (fields: Fields, note: Note) => Sample | string;

const converters: Readonly<Record<Exclude<Format, "oasst" | "oasst-messages">, Converter>> = {
  alpaca: (fields, note) => instruction(fields, "output", note),
  instruction: (fields, note) => instruction(fields, "response", note),
  completion(fields, note) {
    const { prompt, completion } = fields;
    if (Array.isArray(prompt) && Array.isArray(completion)) {
      const all = turnsOf([...prompt, ...completion], note);
      if (typeof all === "string") return all;
      const { messages, unlearned } = all;
      const asked = messages.flatMap(({ role }, at) => (role === "assistant" && at < prompt.length ? [at] : []));
      return conversation({ messages, unlearned: [...new Set([...asked, ...unlearned])] }, note);
    }
    const missing = problemOf(fields, ["prompt", "completion"]);
    if (missing) return missing;
    return (completion as string).trim() === ""
      ? "the completion is empty"
      : { kind: "completion", prompt: prompt as string, completion: completion as string };
  },
  question(fields, note) {
    const missing = problemOf(fields, ["question", "answer"]);
    if (missing) return missing;
    const { question, answer, system } = fields as Record<string, string>;
    const messages = [
      { role: "user", content: question! },
      { role: "assistant", content: answer! },
    ] as const;
    return told(system, { messages, unlearned: [] }, note);
  },
  messages({ messages, system }, note) {
    if (!Array.isArray(messages)) return "messages is not a list";
    return told(system, turnsOf(messages, note), note);
  },
  sharegpt({ conversations, system }, note) {
    if (!Array.isArray(conversations)) return "conversations is not a list";
    return told(system, turnsOf(conversations, note), note);
  },
  text(fields) {
    const missing = problemOf(fields, ["text"]);
    if (missing) return missing;
    const text = fields.text as string;
    return text.trim() === "" ? "the text is empty" : { kind: "text", text };
  },
};

function instruction(fields: Fields, answer: "output" | "response", note: Note): Sample | string {
  const missing = problemOf(fields, ["instruction", answer]);
  if (missing) return missing;
  const turns = instructionTurns(fields, note);
  if (typeof turns === "string") return turns;
  const messages = [...turns, { role: "assistant", content: fields[answer] as string }] as const;
  return told(fields.system, { messages, unlearned: [] }, note);
}

/** What is asked: the turns before, and the instruction with its input. */
export function instructionTurns(fields: Fields, note: Note): Message[] | string {
  const missing = problemOf(fields, ["instruction"]);
  if (missing) return missing;
  const { instruction, history, input: given, context } = fields as Record<string, string>;
  const input = [given, context].find((one) => one && (typeof one !== "string" || one.trim() !== "")) ?? "";
  if (typeof input !== "string") return `${input === given ? "input" : "context"} is not a text`;
  if (input === given && context && given !== context) note("context, beside input");
  const past = pastTurns(history);
  if (typeof past === "string") return past;
  if (instruction!.trim() === "" && input === "") return "the instruction is empty";
  const content = input ? `${instruction}\n\n${input}` : instruction!;
  return [...past, { role: "user", content, ...(input && { instruction: instruction!, input }) }];
}

/** A conversation behind what the system is told, if anything. */
function told(system: unknown, turns: Turns | string, note: Note): Sample | string {
  const whole = typeof turns === "string" ? turns : afterSystem(system, turns, note);
  return typeof whole === "string" ? whole : conversation(whole, note);
}

/** Which of these fields is not there as text. */
function problemOf(fields: Fields, names: readonly string[]): string | null {
  for (const name of names) {
    if (typeof fields[name] === "string") continue;
    const has = Object.keys(fields);
    const near = nearest(name, has);
    if (name in fields) return `${name} is not a text (it has ${has.join(", ")})`;
    return `${name} is missing${near ? `; is it ${near}?` : ""} (it has ${has.join(", ") || "no field"})`;
  }
  return null;
}

function convertTrees(rows: readonly Row[], format: "oasst" | "oasst-messages", options: TreeOptions): Converted {
  const { conversations, read, bad: lost } = conversationsOf(rows, format, options);
  const samples: Located[] = [];
  const bad = [...lost];
  for (const { messages, where } of conversations) {
    const unread: string[] = [];
    const sample = conversation({ messages, unlearned: [] }, (name) => unread.push(name));
    if (typeof sample === "string") bad.push({ where, problem: sample });
    else samples.push({ ...sample, where, ...(unread.length > 0 && { unread }) });
  }
  return { samples, read, bad };
}
