/** An answer as its tokens come: its words, and whether it ended by itself. */
import type { ChatTemplate } from "./template";
import type { Tokenizer } from "./tokenizer";

export interface AnswerReader {
  /** Takes the next token. Returns true when the answer has ended. */
  push(id: number): boolean;
  readonly ended: boolean;
  /** Without its end, and without white space at both ends. */
  text(): string;
}

/** An answer ends with the end-of-text token, or as its template ends answers. */
export function answerReader(tokenizer: Tokenizer, { end }: Pick<ChatTemplate, "end">): AnswerReader {
  const ids: number[] = [];
  let ended = false;
  const mark = end !== null && end.id === null ? end.text : null;
  // Every token is at least one byte long, and the first and the last may reach beyond the mark.
  const reach = mark === null ? 0 : Buffer.byteLength(mark) + 1;
  return {
    push(id) {
      if (id === tokenizer.endOfText || id === end?.id) ended = true;
      else ids.push(id);
      if (mark !== null) ended ||= tokenizer.decode(ids.slice(-reach)).includes(mark);
      return ended;
    },
    get ended() {
      return ended;
    },
    text() {
      const text = tokenizer.decode(ids);
      const at = mark === null ? -1 : text.indexOf(mark);
      return (at < 0 ? text : text.slice(0, at)).trim();
    },
  };
}
