/**
 * The text of an answer as its tokens come, given out as soon as it is certain: whole characters, and nothing that may be the beginning of
 * a text that ends the answer. Where that text comes, the answer ends before it.
 */
import type { Tokenizer } from "./tokenizer";

export interface Ends {
  /** Texts that end an answer. They are no part of it. */
  readonly stop: readonly string[];
  /** Tokens that do. */
  readonly stopIds: ReadonlySet<number>;
}

export interface TextReader {
  /** Takes the next token. Returns the new text that is certain. */
  push(id: number): string;
  /** The rest of the text, once no token comes any more. */
  end(): string;
  /** A token or a text has ended it. */
  readonly ended: boolean;
  /** Characters that were read, and that were given out; a token's text begins where what was read before it ended. */
  readonly read: number;
  readonly given: number;
}

/** `before`: the prompt's tokens. The tokenizer's own end token ends every answer. */
export function textReader(tokenizer: Tokenizer, before: readonly number[], { stop, stopIds }: Ends): TextReader {
  // What begins a document has no text before it.
  const stream = tokenizer.stream(before.length === 1 && before[0] === tokenizer.endOfText ? [] : before);
  const marks = stop.filter((text) => text !== "");
  let held = "";
  let ended = false;
  let cut = false;
  let read = 0;
  let given = 0;
  const give = (text: string) => {
    given += text.length;
    return text;
  };
  return {
    push(id) {
      if (stopIds.has(id) || id === tokenizer.endOfText) {
        ended = true;
        return "";
      }
      const text = stream.push(id);
      read += text.length;
      held += text;
      const at = firstOf(held, marks);
      if (at !== null) {
        ended = true;
        cut = true;
        return give(held.slice(0, at));
      }
      const certain = held.length - possibleStart(held, marks);
      const out = held.slice(0, certain);
      held = held.slice(certain);
      return give(out);
    },
    end() {
      if (cut) return "";
      const rest = held + stream.end();
      held = "";

      return give(rest);
    },
    get ended() {
      return ended;
    },
    get read() {
      return read;
    },
    get given() {
      return given;
    },
  };
}

/** Where the first of them begins, or null. */
function firstOf(text: string, marks: readonly string[]): number | null {
  const found = marks.map((mark) => text.indexOf(mark)).filter((at) => at >= 0);
  return found.length ? Math.min(...found) : null;
}

/** How many characters at the end may be the beginning of a mark. */
function possibleStart(text: string, marks: readonly string[]): number {
  let most = 0;
  for (const mark of marks) {
    for (let length = Math.min(mark.length - 1, text.length); length > most; length--) {
      if (text.endsWith(mark.slice(0, length))) most = length;
    }
  }
  return most;
}
