/** How an answer ends; and an answer as its tokens come: its words, and whether it ended by itself. */
import { type Ends, textReader } from "./reader";
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

/** The same for a reader of texts. */
export function endsOf(tokenizer: Pick<Tokenizer, "endOfText">, template: Pick<ChatTemplate, "end">): Ends {
  const { ids, text } = answerEnds(tokenizer, template);
  return { stop: text === null ? [] : [text], stopIds: ids };
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
  const reader = textReader(tokenizer, prompt, endsOf(tokenizer, template));
  let text = "";
  return {
    push(id) {
      text += reader.push(id);
      return reader.ended;
    },
    get ended() {
      return reader.ended;
    },
    text() {
      text += reader.end();
      return text.trim();
    },
  };
}
