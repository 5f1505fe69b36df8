/** The two sides of a pair: a prompt with each of two answers, however the record has them. */
import type { Message } from "../text/template";
import type { Sample } from "./formats";
import { conversation, type Note, type Turns, turnsOf } from "./turns";

/** Two answers to one prompt. */
export interface Sides {
  /** The prompt in words: what pairs of one prompt have in common. */
  readonly prompt: string;
  readonly chosen: Sample;
  readonly rejected: Sample;
}

/** A side as turns, or as text that is no conversation. */
export type Side = readonly Message[] | string;

/** What comes before both answers. */
export type Prompt = readonly Message[] | string;

/** A prompt that is given, and the two answers to it: turns to turns, or text to text. Else why they are no pair. */
export function sidesOf(prompt: Prompt, chosen: Side, rejected: Side, note: Note): Sides | string {
  const [better, worse] = [sampleOf(prompt, chosen, note), sampleOf(prompt, rejected, note)];
  if (typeof better === "string") return `chosen: ${better}`;
  if (typeof worse === "string") return `rejected: ${worse}`;
  if (Bun.deepEquals(better, worse)) return "the two sides are the same";
  return { prompt: wordsOf(prompt), chosen: better, rejected: worse };
}

/** One answer to a prompt. Only the answer is learned, and no earlier one. */
export function sampleOf(prompt: Prompt, answer: Side, note: Note): Sample | string {
  if (typeof prompt === "string") {
    if (typeof answer !== "string") return "an answer of turns goes with a prompt of turns";
    return answer.trim() === "" ? "the answer is empty" : { kind: "completion", prompt, completion: answer };
  }
  const turns: readonly Message[] = typeof answer === "string" ? [{ role: "assistant", content: answer }] : answer;
  const messages = [...prompt, ...turns];
  if (messages.at(-1)?.role !== "assistant") return "it does not end with an answer";
  const asked = prompt.flatMap(({ role }, at) => (role === "assistant" ? [at] : []));
  return conversation({ messages, unlearned: asked }, note);
}

export function wordsOf(prompt: Prompt): string {
  return typeof prompt === "string" ? prompt : JSON.stringify(prompt.map(({ role, content }) => [role, content]));
}

/** Both sides are whole conversations: what they begin with in common, up to a turn of the assistant's, is the prompt. */
export function sidesOfWhole(chosen: readonly Message[], rejected: readonly Message[], note: Note): Sides | string {
  const same = (i: number) => chosen[i]!.role === rejected[i]!.role && chosen[i]!.content === rejected[i]!.content;
  const most = Math.min(chosen.length, rejected.length);
  let common = 0;
  while (common < most && same(common)) common++;
  if (common === chosen.length && common === rejected.length) return "the two sides are the same";
  if (common === most) return "one side is the beginning of the other, so they have no two answers to compare";
  const answersAt = (i: number) => chosen[i]?.role === "assistant" && rejected[i]?.role === "assistant";
  while (common > 0 && !answersAt(common)) common--;
  if (common === 0) return "the two sides do not begin with the same prompt";
  return sidesOf(chosen.slice(0, common), chosen.slice(common), rejected.slice(common), note);
}

/** Both sides are whole texts: what they begin with in common, up to white space, is the prompt. */
export function sidesOfText(chosen: string, rejected: string, note: Note): Sides | string {
  if (chosen.trim() === rejected.trim()) return "the two sides are the same";
  const most = Math.min(chosen.trimEnd().length, rejected.trimEnd().length);
  let common = 0;
  while (common < most && chosen[common] === rejected[common]) common++;
  const begins = (text: string) => /\s/u.test(text[common] ?? "");
  const before = () => /\S/u.test(chosen[common - 1] ?? "");
  while (common > 0 && !(common < most && begins(chosen) && begins(rejected) && before())) common--;
  return sidesOf(chosen.slice(0, common), chosen.slice(common), rejected.slice(common), note);
}

const SPEAKER = /\n\n(Human|Assistant):/g;

/** The dialogues of hh-rlhf (https://arxiv.org/abs/2204.05862) as turns; null where a text is none. Two turns of one speaker are one. */
export function dialogueOf(text: string): Message[] | null {
  const whole = text.startsWith("\n\n") ? text : `\n\n${text.trimStart()}`;
  if (!whole.startsWith("\n\nHuman:")) return null;
  const parts = whole.split(SPEAKER).slice(1);
  const turns: { role: "user" | "assistant"; content: string }[] = [];
  for (let i = 0; i < parts.length; i += 2) {
    const role = parts[i] === "Human" ? "user" : "assistant";
    const content = parts[i + 1]!.trim();
    const last = turns.at(-1);
    if (last?.role === role) last.content = `${last.content}\n\n${content}`.trim();
    else turns.push({ role, content });
  }
  return turns;
}

/** A list of turns; else what is wrong with it. */
export function messagesOf(value: unknown, note: Note): readonly Message[] | string {
  if (!Array.isArray(value)) return "it is not a list of turns";
  const turns: Turns | string = turnsOf(value, note);
  if (typeof turns === "string") return turns;
  if (turns.unlearned.length > 0) note("weight 0 or train false of a turn");
  return turns.messages;
}
