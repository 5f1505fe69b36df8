/** What records say, whichever way they say it: each becomes a conversation, a prompt with its completion, or a text. */

import { UserError } from "../errors";
import { nearest } from "../text/nearest";
import type { Message } from "../text/template";
import { conversationsOf, type TreeOptions } from "./oasst";
import type { BadRow, Row } from "./row";

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
  /** A conversation; its first `given` messages are there to be read only, and no answer in them is learned. */
  | { readonly kind: "messages"; readonly messages: readonly Message[]; readonly given?: number }
  | { readonly kind: "completion"; readonly prompt: string; readonly completion: string }
  | { readonly kind: "text"; readonly text: string };

export type Located = Sample & { readonly where: string };

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
  alpaca: ["input", "context"],
  instruction: ["input", "context"],
};

/** Fields that the first records have and nobody reads. */
export function unusedFields(rows: readonly Row[], format: Format): string[] {
  if (format === "oasst" || format === "oasst-messages") return [];
  const used = [...required[format], ...(optional[format] ?? [])];
  const names = new Set(rows.slice(0, 20).flatMap(({ fields }) => Object.keys(fields)));
  return [...names].filter((name) => !used.includes(name));
}

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
  if ("chosen" in fields && "rejected" in fields) {
    throw new UserError(`${where} is a pair to prefer from (chosen, rejected), and not an example to follow`, {
      hint: "fine-tuning needs instructions, conversations or text",
    });
  }
  const all = [...new Set(Object.values(required).flat())];
  const meant = names.filter((name) => !all.includes(name)).flatMap((name) => nearest(name, all) ?? []);
  throw new UserError(`${where} has the fields ${names.join(", ") || "(none)"}, which is no known format`, {
    hint: meant.length
      ? `did you mean ${meant.join(", ")}?`
      : `known are ${known.map((format) => `${format} (${required[format].join(", ")})`).join("; ")}`,
  });
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
    const result = converters[format](fields);
    if (typeof result === "string") bad.push({ where, problem: result });
    else samples.push({ ...result, where });
  }
  return { samples, read: rows.length, bad };
}

type Fields = Row["fields"];
type Turn = Readonly<Record<string, unknown>>;
type Converter = (fields: Fields) => Sample | string;

const converters: Readonly<Record<Exclude<Format, "oasst" | "oasst-messages">, Converter>> = {
  alpaca: (fields) => instruction(fields, "output"),
  instruction: (fields) => instruction(fields, "response"),
  completion(fields) {
    if (Array.isArray(fields.prompt) && Array.isArray(fields.completion)) {
      const sample = turns([...fields.prompt, ...fields.completion], roleAndContent);
      return typeof sample === "string" ? sample : { ...sample, given: fields.prompt.length };
    }
    const missing = problemOf(fields, ["prompt", "completion"]);
    if (missing) return missing;
    const { prompt, completion } = fields as Record<string, string>;
    return completion!.trim() === ""
      ? "the completion is empty"
      : { kind: "completion", prompt: prompt!, completion: completion! };
  },
  question(fields) {
    const missing = problemOf(fields, ["question", "answer"]);
    if (missing) return missing;
    const { question, answer } = fields as Record<string, string>;
    return conversation([
      { role: "user", content: question! },
      { role: "assistant", content: answer! },
    ]);
  },
  messages({ messages }) {
    if (!Array.isArray(messages)) return "messages is not a list";
    return turns(messages, roleAndContent);
  },
  sharegpt({ conversations }) {
    if (!Array.isArray(conversations)) return "conversations is not a list";
    return turns(conversations, (turn) => [turn.from ?? turn.role, turn.value ?? turn.content]);
  },
  text(fields) {
    const missing = problemOf(fields, ["text"]);
    if (missing) return missing;
    const text = fields.text as string;
    return text.trim() === "" ? "the text is empty" : { kind: "text", text };
  },
};

function instruction(fields: Fields, answer: "output" | "response"): Sample | string {
  const missing = problemOf(fields, ["instruction", answer]);
  if (missing) return missing;
  const { instruction, context = "", input = context } = fields as Record<string, string>;
  if (typeof input !== "string" && input !== null) return "input is not a text";
  const content = input ? `${instruction}\n\n${input}` : instruction!;
  return conversation([
    { role: "user", content, ...(input && { instruction: instruction!, input }) },
    { role: "assistant", content: fields[answer] as string },
  ]);
}

/** Names of roles in other people's data. */
const roles: ReadonlyMap<unknown, Message["role"]> = new Map<unknown, Message["role"]>([
  ["system", "system"],
  ["user", "user"],
  ["human", "user"],
  ["prompter", "user"],
  ["assistant", "assistant"],
  ["gpt", "assistant"],
  ["chatgpt", "assistant"],
  ["bot", "assistant"],
  ["model", "assistant"],
]);

const roleAndContent = (turn: Turn): [unknown, unknown] => [turn.role, turn.content];

function turns(list: readonly unknown[], partsOf: (turn: Turn) => [unknown, unknown]): Sample | string {
  const messages: Message[] = [];
  for (const [i, turn] of list.entries()) {
    const [role, said] = partsOf((turn ?? {}) as Turn);
    const content = textOf(said);
    const known = roles.get(typeof role === "string" ? role.toLowerCase() : role);
    if (!known) return `turn ${i + 1} has the role ${JSON.stringify(role)}, expected system, user or assistant`;
    if (content === null) return `turn ${i + 1} has no text`;
    messages.push({ role: known, content });
  }
  return conversation(messages);
}

/** A text, or the list of parts that some data have for it; null where it is anything else. */
function textOf(content: unknown): string | null {
  if (typeof content === "string") return content;
  if (!Array.isArray(content) || content.length === 0) return null;
  const texts = content.map((part: { type?: unknown; text?: unknown } | null) => part?.type === "text" && part.text);
  return texts.every((text) => typeof text === "string") ? texts.join("") : null;
}

/** A conversation whose roles are in order and whose answers are not empty. A last question without an answer is left out. */
function conversation(given: readonly Message[]): Sample | string {
  const messages = given.at(-1)?.role === "user" ? given.slice(0, -1) : given;
  const spoken = messages[0]?.role === "system" ? messages.slice(1) : messages;
  if (spoken.length === 0) return "there is no answer";
  for (const [i, { role, content }] of spoken.entries()) {
    const expected = i % 2 === 0 ? "user" : "assistant";
    const turn = i + 1 + messages.length - spoken.length;
    if (role !== expected) return `roles are out of order: turn ${turn} is the ${role}'s, expected the ${expected}'s`;
    if (role === "assistant" && content.trim() === "") return `the response of turn ${turn} is empty`;
  }
  return { kind: "messages", messages };
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
    const sample = conversation(messages);
    if (typeof sample === "string") bad.push({ where, problem: sample });
    else samples.push({ ...sample, where });
  }
  return { samples, read, bad };
}
