/** Decoding a stream of tokens: gives out text as soon as it is whole, holding back incomplete UTF-8. */
import type { Tokenizer } from "./tokenizer";

export interface TextStream {
  /** The new text that this token completes; often empty in the middle of a character. */
  push(id: number): string;
  /** Whatever is still held back. */
  end(): string;
}

const REPLACEMENT = "\ufffd";

export function textStream(tokenizer: Tokenizer): TextStream {
  let ids: number[] = [];
  let given = "";
  return {
    push(id) {
      ids.push(id);
      const text = tokenizer.decode(ids);
      if (text.endsWith(REPLACEMENT)) return "";
      const fresh = text.slice(given.length);
      // Decoding starts afresh at line ends, so that a long stream costs no more than a long line.
      if (text.endsWith("\n")) {
        ids = [];
        given = "";
      } else given = text;
      return fresh;
    },
    end: () => tokenizer.decode(ids).slice(given.length),
  };
}
