/** What a chat template must do for nothing to be lost in silence: render the words of every turn, and ask as it was trained. */
import { UserError } from "../errors";
import { OPEN, withoutMarks } from "./marks";
import type { Message } from "./message";

/** Renders a conversation, marks and all; throws a UserError where the template will not. */
export type Render = (messages: readonly Message[], prompt: boolean) => string;

/** A conversation of words that no template has of its own. */
const SYSTEM: Message = { role: "system", content: "zqsystem" };
export const QUESTION: Message = { role: "user", content: "zquser" };
export const ANSWER: Message = { role: "assistant", content: "zqassistant" };

/** The roles whose words are rendered in no conversation that the template takes. */
export function rolesLeftOut(attempt: (messages: readonly Message[]) => string | null): ReadonlySet<Message["role"]> {
  const seen = new Set<Message["role"]>();
  const missing = new Set<Message["role"]>();
  for (const messages of [
    [QUESTION, ANSWER],
    [SYSTEM, QUESTION, ANSWER],
  ]) {
    const text = attempt(messages);
    for (const { role, content } of text === null ? [] : messages) (text!.includes(content) ? seen : missing).add(role);
  }
  return new Set([...missing].filter((role) => !seen.has(role)));
}

/** Throws where words of a turn are not in the text. White space may differ; what two turns say must be there twice. */
export function expectWords(messages: readonly Message[], text: string, leftOut: ReadonlySet<Message["role"]>): void {
  const said = new Map<string, number>();
  messages.forEach(({ role, content, instruction, input }, i) => {
    const words = content.trim();
    if (words === "") return;
    const times = (said.get(words) ?? 0) + 1;
    said.set(words, times);
    const parts = [instruction, input].filter((part) => part !== undefined);
    if (!leftOut.has(role)) {
      if (occurs(text, words, times)) return;
      if (parts.length > 0 && parts.every((part) => occurs(text, part.trim(), times))) return;
    }
    throw new UserError(`the chat template leaves out or changes words of turn ${i + 1}, the ${role}'s`, {
      hint: `use another template, or data without them; \`dawngrad data show\` shows what is rendered`,
    });
  });
}

function occurs(text: string, words: string, times: number): boolean {
  return count(text, words) >= times || count(spaced(text), spaced(words)) >= times;
}

function count(text: string, words: string): number {
  return words === "" ? Number.POSITIVE_INFINITY : text.split(words).length - 1;
}

function spaced(text: string): string {
  return text.replace(/\s+/g, " ");
}

/** Throws where a template with marks asks for an answer by another text than the one behind which it is trained. */
export function expectPrompts(attempt: (messages: readonly Message[], prompt: boolean) => string | null): void {
  for (const messages of [
    [QUESTION, ANSWER],
    [QUESTION, ANSWER, QUESTION, ANSWER],
    [SYSTEM, QUESTION, ANSWER],
  ]) {
    const whole = attempt(messages, false);
    const asked = attempt(messages.slice(0, -1), true);
    const open = whole?.lastIndexOf(OPEN) ?? -1;
    if (whole === null || asked === null || open < 0) continue;
    const prompt = withoutMarks(asked);
    const text = withoutMarks(whole);
    const before = withoutMarks(whole.slice(0, open));
    // A prompt may go on into what is trained, up to the answer's words.
    const most = text.slice(0, text.lastIndexOf(ANSWER.content));
    if (prompt.startsWith(before) && most.startsWith(prompt)) continue;
    throw new UserError(
      `the chat template asks for an answer behind ${tail(prompt)}, and trains it behind ${tail(before)}`,
      { hint: "with add_generation_prompt it must write all that stands before {% generation %}, and no more" },
    );
  }
}

function tail(text: string): string {
  return JSON.stringify(text.slice(-24));
}
