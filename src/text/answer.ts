/** How an answer ends; and an answer as its tokens come: its words, and whether it ended by itself. */
import type { ChatTemplate } from "./template";
import type { Tokenizer } from "./tokenizer";

/** What ends an answer: any of these tokens, or this text. */
export interface AnswerEnds {
  readonly ids: ReadonlySet<number>;
  /** Where the template ends answers by words that are no token of their own. */
  readonly text: string | null;
}

/** The end-of-text token ends an answer, and so does what its template puts behind one. */
export function answerEnds(
  { endOfText }: Pick<Tokenizer, "endOfText">,
  { end }: Pick<ChatTemplate, "end">,
): AnswerEnds {
  const ids = [endOfText, end?.id ?? null].filter((id) => id !== null);
  return { ids: new Set(ids), text: end !== null && end.id === null ? end.text : null };
}

export interface AnswerReader {
  /** Takes the next token. Returns true when the answer has ended. */
  push(id: number): boolean;
  readonly ended: boolean;
  /** Without its end, and without white space at both ends. */
  text(): string;
}

/** Reads the answer to a prompt. */
export function answerReader(
  tokenizer: Tokenizer,
  template: Pick<ChatTemplate, "end">,
  prompt: readonly number[],
): AnswerReader {
  const stream = tokenizer.stream(prompt);
  let text = "";
  let ended = false;
  const { ids: last, text: mark } = answerEnds(tokenizer, template);
  return {
    push(id) {
      if (last.has(id)) {
        ended = true;
        return true;
      }
      const from = mark === null ? 0 : Math.max(0, text.length - mark.length);
      text += stream.push(id);
      if (mark !== null) ended ||= text.includes(mark, from);
      return ended;
    },
    get ended() {
      return ended;
    },
    text() {
      const whole = text + stream.end();
      const at = mark === null ? -1 : whole.indexOf(mark);
      return (at < 0 ? whole : whole.slice(0, at)).trim();
    },
  };
}
