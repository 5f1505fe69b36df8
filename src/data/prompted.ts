/** What comes before an answer, in the fields of records: an instruction, a question, turns, a text, or the answers' own beginning. */
import type { Message } from "../text/template";
import { instructionTurns } from "./formats";
import type { Row } from "./row";
import { dialogueOf, messagesOf, type Side, type Sides, sidesOf, sidesOfText, sidesOfWhole } from "./sides";
import { afterSystem, type Note, unreadOf } from "./turns";

type Fields = Row["fields"];

/** Fields that may hold what is asked. */
export const asked = ["instruction", "prompt", "question", "input", "context", "system", "history"];

/** Fields that may hold an answer with its label. */
export const answers = ["completion", "output", "response", "messages", "conversations"];

/** Names those of them that are there beside the ones that are read. */
function passOver(fields: Fields, used: readonly string[], note: Note): void {
  for (const name of unreadOf(fields, used)) if (asked.includes(name) || answers.includes(name)) note(name);
}

const isGiven = (value: unknown): boolean => value !== undefined && value !== null;

/** The prompt and the two answers of a record; else why they are no pair. */
export function pairOf({ prompt: given, ...others }: Fields, note: Note): Sides | string {
  const { chosen, rejected } = others;
  const isEmpty = given === "" || (Array.isArray(given) && given.length === 0);
  const fields: Fields = isEmpty ? others : { ...others, prompt: given };
  const [better, worse] = [sideOf(chosen, note), sideOf(rejected, note)];
  if (better === null) return "chosen is neither a text nor a list of turns";
  if (worse === null) return "rejected is neither a text nor a list of turns";
  if ("problem" in better) return `chosen: ${better.problem}`;
  if ("problem" in worse) return `rejected: ${worse.problem}`;
  const isAsked = isGiven(fields.instruction) || isGiven(fields.question);
  const whole = isAsked ? null : wholeSides(fields, better.side, worse.side);
  if (whole) {
    passOver(fields, ["system", ...(whole.every((turns) => beginsWith(turns, given)) ? ["prompt"] : [])], note);
    const [first, second] = whole.map((turns) => afterSystem(fields.system, { messages: turns, unlearned: [] }, note));
    if (typeof first === "string" || typeof second === "string") return "system is not a text";
    return sidesOfWhole(first!.messages, second!.messages, note);
  }
  const prompt = promptOf(fields, note);
  if ("problem" in prompt) return prompt.problem;
  if (prompt.prompt !== null) return sidesOf(prompt.prompt, better.side, worse.side, note);
  if (typeof better.side !== "string" || typeof worse.side !== "string")
    return "one side is a text, and the other turns";
  return sidesOfText(better.side, worse.side, note);
}

/** Both sides as whole conversations, where they are: turns that begin with a user's or a system's, or dialogues as text. */
function wholeSides({ prompt }: Fields, better: Side, worse: Side): (readonly Message[])[] | null {
  if (typeof better === "string" && typeof worse === "string") {
    const [first, second] = [dialogueOf(better), dialogueOf(worse)];
    return (prompt === undefined || prompt === null) && first && second ? [first, second] : null;
  }
  if (typeof better === "string" || typeof worse === "string") return null;
  // What a prompt of turns says already stands in no answer.
  if (Array.isArray(prompt) && prompt.length > 0 && better[0]?.role === "assistant") return null;
  return better[0]?.role === "assistant" ? null : [better, worse];
}

/** Whether a prompt that is given beside a whole conversation says nothing more: it is its first question, or its first turns. */
function beginsWith(turns: readonly Message[], prompt: unknown): boolean {
  if (typeof prompt === "string") return turns.find(({ role }) => role === "user")?.content.trim() === prompt.trim();
  const given = messagesOf(prompt, () => {});
  return typeof given !== "string" && Bun.deepEquals(given, turns.slice(0, given.length));
}

type Found<K extends string, T> = { readonly [P in K]: T } | { readonly problem: string };

function sideOf(value: unknown, note: Note): Found<"side", Side> | null {
  if (typeof value === "string") return { side: value };
  if (!Array.isArray(value)) return null;
  const turns = messagesOf(value, note);
  return typeof turns === "string" ? { problem: turns } : { side: turns };
}

/** What comes before the answer: turns of an instruction, a question or a list; a text as it is; null where nothing is given. */
export function promptOf(fields: Fields, note: Note): Found<"prompt", readonly Message[] | string | null> {
  const { prompt, instruction, question, system } = fields;
  const within = (turns: readonly Message[], ...used: readonly string[]): Found<"prompt", readonly Message[]> => {
    passOver(fields, [...answers, "system", ...used], note);
    const whole = afterSystem(system, { messages: turns, unlearned: [] }, note);
    return typeof whole === "string" ? { problem: whole } : { prompt: whole.messages };
  };
  if (isGiven(instruction) || isGiven(question)) {
    const name = isGiven(instruction) ? "instruction" : "question";
    const turns = instructionTurns({ ...fields, instruction: fields[name] }, note);
    return typeof turns === "string" ? { problem: turns } : within(turns, name, "input", "context", "history");
  }
  if (Array.isArray(prompt)) {
    const turns = messagesOf(prompt, note);
    return typeof turns === "string" ? { problem: `prompt: ${turns}` } : within(turns, "prompt");
  }
  if (isGiven(prompt) && typeof prompt !== "string") return { problem: "prompt is neither a text nor a list of turns" };
  const answeredBy = [fields.chosen, fields.rejected, fields.completion];
  if (typeof prompt === "string" && answeredBy.some((value) => Array.isArray(value)))
    return within([{ role: "user", content: prompt }], "prompt");
  passOver(fields, [...answers, "prompt"], note);
  return { prompt: (prompt as string | null | undefined) ?? null };
}

/** A prompt and its one answer. */
export function answered(
  fields: Fields,
  note: Note,
): { readonly prompt: readonly Message[] | string; readonly answer: Side } | string {
  const { messages, conversations } = fields;
  const list = messages ?? conversations;
  if (isGiven(list)) {
    const name = isGiven(messages) ? "messages" : "conversations";
    passOver(fields, ["system", name], note);
    const turns = messagesOf(list, note);
    if (typeof turns === "string") return `${name}: ${turns}`;
    const whole = afterSystem(fields.system, { messages: turns, unlearned: [] }, note);
    if (typeof whole === "string") return whole;
    const last = whole.messages.findLastIndex(({ role }) => role === "assistant");
    if (last < 1) return "there is no answer";
    if (last < whole.messages.length - 1) note("what follows the last answer");
    return { prompt: whole.messages.slice(0, last), answer: whole.messages.slice(last, last + 1) };
  }
  const name = answers.find((one) => isGiven(fields[one]));
  for (const other of unreadOf(fields, [name ?? ""])) if (answers.includes(other)) note(other);
  const answer = name === undefined ? null : sideOf(fields[name], note);
  if (answer === null) return "the answer is neither a text nor a list of turns";
  if ("problem" in answer) return answer.problem;
  const prompt = promptOf(fields, note);
  if ("problem" in prompt) return prompt.problem;
  return prompt.prompt === null ? "there is no prompt" : { prompt: prompt.prompt, answer: answer.side };
}
