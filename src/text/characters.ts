/** A character-level tokenizer: every character of the text is a token, in code point order, as nanoGPT does it. */
import { type Pieces, wholly } from "../tick";
import { END_OF_TEXT, type TokenizerFiles, tokenizerFiles } from "./files";

export function trainCharacters(texts: Iterable<string>): TokenizerFiles {
  return wholly(characterTraining(texts));
}

/** The same text by text. */
export function* characterTraining(texts: Iterable<string>): Pieces<TokenizerFiles> {
  const characters = new Set<string>();
  for (const text of texts) {
    for (const part of text.split(END_OF_TEXT)) for (const character of part) characters.add(character);
    yield;
  }
  const sorted = [...characters].sort((a, b) => a.codePointAt(0)! - b.codePointAt(0)!);
  return tokenizerFiles({
    vocabulary: Object.fromEntries([...sorted, END_OF_TEXT].map((token, id) => [token, id])),
    merges: [],
    preTokenizer: { type: "Split", pattern: { Regex: "[\\s\\S]" }, behavior: "Isolated", invert: false },
    decoder: { type: "Fuse" },
    endOfText: sorted.length,
  });
}
