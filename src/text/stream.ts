/** Text of tokens as they come: each gives what it adds to the text before it, as soon as that is certain. */

export interface TextStream {
  /** The new text that this token completes; often empty in the middle of a character. */
  push(id: number): string;
  /** Whatever is still held back. */
  end(): string;
}

/** What each kind of tokenizer has of its own; `Tokenizer` says what is asked of it. */
export interface Codec {
  encode(text: string, special: boolean, shield: string): number[];
  decode(ids: readonly number[]): string;
  stream(before?: readonly number[]): TextStream;
}

/** A character that is not whole yet, or never will be. */
const REPLACEMENT = "\ufffd";

/** Tokens that are decoded again with a new one. A character has at most four bytes, and each token at least one. */
const WINDOW = 8;

/**
 * A stream over any `decode` in which what a token adds depends only on the few tokens before it, and on whether there are any: the last
 * ones are decoded without it and with it, and the difference is its text.
 */
export function windowed(decode: (ids: readonly number[]) => string, before: readonly number[] = []): TextStream {
  let ids = before.slice(-WINDOW);
  /** Characters of the window's text that need not be given any more. */
  let given = decode(ids).length;
  /** What stands before ends in the midst of a character: where that is made whole, it is new. */
  let open = decode(ids).endsWith(REPLACEMENT);
  return {
    push(id) {
      ids.push(id);
      const text = decode(ids);
      if (open && !text.endsWith(REPLACEMENT)) {
        if (text[given - 1] !== REPLACEMENT) given--;
        open = false;
      }
      const certain = text.endsWith(REPLACEMENT) ? text.length - 1 : text.length;
      const fresh = text.slice(given, certain);
      given = Math.max(given, certain);
      if (ids.length > 2 * WINDOW) {
        ids = ids.slice(-WINDOW);
        given += decode(ids).length - text.length;
      }
      return fresh;
    },
    end: () => decode(ids).slice(given),
  };
}
