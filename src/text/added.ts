/**
 * Added tokens found in text, before anything else is done with it. Those that are not special are plain vocabulary and always found.
 * https://huggingface.co/docs/tokenizers/api/added-tokens
 */
import { WORD } from "./dialect";
import type { AddedToken } from "./schema";

/** A token's id, or the text between tokens. */
export type Section = number | string;

/** Longest first at each place. Special tokens only where they are asked for. */
export type Splitter = (text: string, special: boolean) => Section[];

const endsWithWord = new RegExp(`[${WORD}]$`, "u");
const startsWithWord = new RegExp(`^[${WORD}]`, "u");
const space = /^\p{White_Space}$/u;

/** `written` is how a token's letters stand in the text: normalized, where the text is. */
export function splitter(tokens: readonly AddedToken[], written = (token: AddedToken) => token.content): Splitter {
  const byFirst = new Map<string, { readonly letters: string; readonly token: AddedToken }[]>();
  for (const token of tokens) {
    const letters = written(token);
    if (letters !== "") byFirst.set(letters[0]!, [...(byFirst.get(letters[0]!) ?? []), { letters, token }]);
  }
  for (const list of byFirst.values()) list.sort((a, b) => b.letters.length - a.letters.length);
  const firsts = [...byFirst.keys()].map((letter) => letter.replace(/[\\\]^-]/, "\\$&")).join("");
  const begins = new RegExp(`[${firsts}]`, "g");

  return (text, special) => {
    if (byFirst.size === 0) return text === "" ? [] : [text];
    const sections: Section[] = [];
    let done = 0;
    begins.lastIndex = 0;
    for (let found = begins.exec(text); found; found = begins.exec(text)) {
      const start = found.index;
      const match = byFirst.get(text[start]!)!.find(({ letters }) => text.startsWith(letters, start));
      if (!match) continue;
      const { letters, token } = match;
      const end = start + letters.length;
      begins.lastIndex = end;
      if (token.special && !special) continue;
      if (token.single_word && !standsAlone(text, start, end)) continue;
      const from = token.lstrip ? Math.max(done, spaceBefore(text, start)) : start;
      if (from > done) sections.push(text.slice(done, from));
      sections.push(token.id);
      done = token.rstrip ? spaceAfter(text, end) : end;
    }
    if (done < text.length) sections.push(text.slice(done));
    return sections;
  };
}

function standsAlone(text: string, start: number, end: number): boolean {
  // Two units, because a character may have two.
  return (
    !endsWithWord.test(text.slice(Math.max(0, start - 2), start)) && !startsWithWord.test(text.slice(end, end + 2))
  );
}

function spaceBefore(text: string, at: number): number {
  while (at > 0 && space.test(text[at - 1]!)) at--;
  return at;
}

function spaceAfter(text: string, at: number): number {
  while (at < text.length && space.test(text[at]!)) at++;
  return at;
}
