/** Turns as other people's data have them: who speaks, what is said, and whether it is to be learned. */
import { shown } from "../errors";
import type { Message } from "../text/template";
import { isObject } from "./json";

/** A conversation. The answers at the places `unlearned` are there to be read only. */
export interface Conversation {
  readonly kind: "messages";
  readonly messages: readonly Message[];
  readonly unlearned?: readonly number[];
}

/** Called with the name of what carries words, or says how they are to be used, and is not read. */
export type Note = (name: string) => void;

/** Names of roles in other people's data. */
const roles: ReadonlyMap<unknown, Message["role"]> = new Map<unknown, Message["role"]>([
  ["system", "system"],
  ["developer", "system"],
  ["user", "user"],
  ["human", "user"],
  ["prompter", "user"],
  ["assistant", "assistant"],
  ["gpt", "assistant"],
  ["chatgpt", "assistant"],
  ["bot", "assistant"],
  ["model", "assistant"],
]);

export interface Turns {
  readonly messages: readonly Message[];
  readonly unlearned: readonly number[];
}

/** A list of turns, or what is wrong with one. ShareGPT's say `from` and `value` for `role` and `content`. */
export function turnsOf(list: readonly unknown[], note: Note): Turns | string {
  const messages: Message[] = [];
  const unlearned: number[] = [];
  for (const [i, given] of list.entries()) {
    const turn = isObject(given) ? given : {};
    const [who, what] = [nameIn(turn, "from", "role"), nameIn(turn, "value", "content")];
    const [role, content] = [turn[who], textOf(turn[what])];
    const known = roles.get(typeof role === "string" ? role.toLowerCase() : role);
    if (!known) return `turn ${i + 1} has the role ${shown(role)}, expected system, user or assistant`;
    if (content === null) return `turn ${i + 1} has no text`;
    const { weight, train } = turn;
    if (known !== "assistant") {
      if (!isNothing(weight) && weight !== 0) note("weight of a turn that is not the assistant's");
      if (!isNothing(train) && train !== false) note("train of a turn that is not the assistant's");
    } else {
      if (weight === 0 || train === false) unlearned.push(i);
      if (!isNothing(weight) && weight !== 0 && weight !== 1) note("weight of a turn, other than 0 and 1");
      if (!isNothing(train) && typeof train !== "boolean") note("train of a turn, other than true and false");
    }
    for (const name of unreadOf(turn, [who, what, "weight", "train"])) note(`${name} of a turn`);
    messages.push({ role: known, content });
  }
  return { messages, unlearned };
}

function nameIn(turn: Readonly<Record<string, unknown>>, first: string, second: string): string {
  return isNothing(turn[first]) ? second : first;
}

const isNothing = (value: unknown): boolean => value === undefined || value === null;

/** The fields that have something in them and are not among those that are read. */
export function unreadOf(fields: Readonly<Record<string, unknown>>, read: readonly string[]): string[] {
  return Object.keys(fields).filter((name) => !read.includes(name) && !isEmpty(fields[name]));
}

function isEmpty(value: unknown): boolean {
  if (typeof value === "string") return value.trim() === "";
  if (Array.isArray(value)) return value.length === 0;
  return isNothing(value) || (isObject(value) && Object.keys(value).length === 0);
}

/** How parts of a content are called that are text. */
const textTypes: readonly unknown[] = ["text", "input_text", "output_text"];

/** A text, or the list of parts that some data have for it; null where it is anything else. */
function textOf(content: unknown): string | null {
  if (typeof content === "string") return content;
  if (!Array.isArray(content) || content.length === 0) return null;
  const texts = content.map(
    (part: { type?: unknown; text?: unknown } | null) => textTypes.includes(part?.type) && part?.text,
  );
  return texts.every((text) => typeof text === "string") ? texts.join("") : null;
}

/** A conversation whose roles are in order and whose answers are not empty. A last question without an answer is left out, and told. */
export function conversation({ messages: given, unlearned }: Turns, note: Note): Conversation | string {
  const asks = given.length > 1 && given.at(-1)!.role === "user";
  if (asks) note("a last question without an answer");
  const messages = asks ? given.slice(0, -1) : given;
  const spoken = messages[0]?.role === "system" ? messages.slice(1) : messages;
  if (!spoken.some(({ role }) => role === "assistant")) return "there is no answer";
  for (const [i, { role, content }] of spoken.entries()) {
    const expected = i % 2 === 0 ? "user" : "assistant";
    const turn = i + 1 + messages.length - spoken.length;
    if (role !== expected) return `roles are out of order: turn ${turn} is the ${role}'s, expected the ${expected}'s`;
    if (role === "assistant" && content.trim() === "") return `the response of turn ${turn} is empty`;
  }
  return { kind: "messages", messages, ...(unlearned.length > 0 && { unlearned }) };
}

/** The turns behind a system's, where a record has one in a field of its own. */
export function afterSystem(system: unknown, { messages, unlearned }: Turns, note: Note): Turns | string {
  if (isEmpty(system)) return { messages, unlearned };
  if (typeof system !== "string") return "system is not a text";
  if (messages[0]?.role === "system") {
    if (messages[0].content.trim() !== system.trim()) note("system, beside a system turn");
    return { messages, unlearned };
  }
  return { messages: [{ role: "system", content: system }, ...messages], unlearned: unlearned.map((at) => at + 1) };
}

/** Alpaca's turns before the instruction: pairs of a question and its answer. */
export function pastTurns(history: unknown): Message[] | string {
  if (isEmpty(history)) return [];
  const problem = "history is not a list of pairs, a question and its answer each";
  if (!Array.isArray(history)) return problem;
  const messages: Message[] = [];
  for (const pair of history as readonly unknown[]) {
    if (!Array.isArray(pair) || pair.length !== 2 || !pair.every((text) => typeof text === "string")) return problem;
    const [question, answer] = pair as [string, string];
    messages.push({ role: "user", content: question }, { role: "assistant", content: answer });
  }
  return messages;
}
