/**
 * A word-level tokenizer: cleaned text, split into words, numbers, single signs and line ends; what the vocabulary does not have is
 * <|unk|>. For seeing what a model does with plain words, not for text that must come back as it was.
 */
import { type Pieces, wholly } from "../tick";
import { END_OF_TEXT, type TokenizerFiles, tokenizerFiles } from "./files";
import type { Codec } from "./stream";

const UNKNOWN = "<|unk|>";

/** Typographic characters and what they are written as. */
const plain: readonly (readonly [string, string])[] = [
  ["\u2018", "'"],
  ["\u2019", "'"],
  ["\u201a", "'"],
  ["\u201c", '"'],
  ["\u201d", '"'],
  ["\u201e", '"'],
  ["\u00ab", '"'],
  ["\u00bb", '"'],
  ["\u2010", "-"],
  ["\u2011", "-"],
  ["\u2012", "-"],
  ["\u2013", "-"],
  ["\u2014", "-"],
  ["\u2026", "..."],
  ["\u00ad", ""],
  ["\u200b", ""],
  ["\ufeff", ""],
  ["\r\n", "\n"],
];

/** Words with inner apostrophes and hyphens, numbers with inner points and commas, line ends, and any other single sign. */
const PATTERN = "\\n|\\p{L}[\\p{L}\\p{M}]*(?:['-]\\p{L}[\\p{L}\\p{M}]*)*|\\p{N}+(?:[.,]\\p{N}+)*|[^\\s\\p{L}\\p{N}]";
const pattern = new RegExp(PATTERN, "gu");

/** Text in composed form (NFKC), its typographic characters plain. */
function cleaned(text: string): string {
  return plain.reduce((text, [from, to]) => text.replaceAll(from, to), text.normalize("NFKC"));
}

export function wordsOf(text: string): string[] {
  return cleaned(text).match(pattern) ?? [];
}

/** The most frequent words, <|unk|> and <|endoftext|>: at most `size` tokens. Words of one frequency stand in alphabetical order. */
export function trainWords(texts: Iterable<string>, options: { readonly size: number }): TokenizerFiles {
  return wholly(wordTraining(texts, options));
}

/** The same text by text. */
export function* wordTraining(texts: Iterable<string>, { size }: { readonly size: number }): Pieces<TokenizerFiles> {
  const counts = new Map<string, number>();
  for (const text of texts) {
    for (const part of text.split(END_OF_TEXT))
      for (const word of wordsOf(part)) counts.set(word, (counts.get(word) ?? 0) + 1);
    yield;
  }
  const words = [...counts].sort(([a, n], [b, m]) => m - n || (a < b ? -1 : 1)).slice(0, Math.max(0, size - 2));
  const tokens = [UNKNOWN, END_OF_TEXT, ...words.map(([word]) => word)];
  const { tokenizer, config } = tokenizerFiles({
    vocabulary: {},
    merges: [],
    preTokenizer: { type: "Split", pattern: { Regex: PATTERN }, behavior: "Removed", invert: true },
    decoder: { type: "Fuse" },
    endOfText: 1,
  });
  return {
    tokenizer: {
      ...tokenizer,
      normalizer: normalizer(),
      decoder: null,
      model: {
        type: "WordLevel",
        vocab: Object.fromEntries(tokens.map((token, id) => [token, id])),
        unk_token: UNKNOWN,
      },
    },
    config: { ...config, unk_token: UNKNOWN },
  };
}

function normalizer(): object {
  const replacements = plain.map(([from, content]) => ({ type: "Replace", pattern: { String: from }, content }));
  return { type: "Sequence", normalizers: [{ type: "NFKC" }, ...replacements] };
}

export interface WordFile {
  readonly normalizer?: unknown;
  readonly pre_tokenizer?: unknown;
  readonly model: {
    readonly type: "WordLevel";
    readonly vocab: Readonly<Record<string, number>>;
    readonly unk_token?: string;
  };
}

/** Reads what trainWords has written; null for a WordLevel file that cleans or splits otherwise. */
export function wordTokenizer({ model, normalizer: cleaning, pre_tokenizer: split }: WordFile): Codec | null {
  const same = (a: unknown, b: unknown) => JSON.stringify(a) === JSON.stringify(b);
  if (!same(cleaning, normalizer()) || (split as { pattern?: { Regex?: string } } | null)?.pattern?.Regex !== PATTERN)
    return null;
  const ids = new Map(Object.entries(model.vocab));
  const tokens = new Map([...ids].map(([token, id]) => [id, token]));
  const unknown = ids.get(model.unk_token ?? UNKNOWN) ?? 0;
  const end = ids.get(END_OF_TEXT);
  const wordOf = (id: number) => tokens.get(id) ?? UNKNOWN;
  const encodePlain = (text: string) => wordsOf(text).map((word) => ids.get(word) ?? unknown);
  return {
    encode(given, special, shield) {
      const plain = (text: string) => encodePlain(shield ? text.replaceAll(shield, "") : text);
      if (!special || end === undefined) return plain(given);
      return given.split(END_OF_TEXT).flatMap((part, i) => [...(i > 0 ? [end] : []), ...plain(part)]);
    },
    decode: (wanted) => wanted.map(speaker(wordOf)).join(""),
    stream(before = []) {
      const push = speaker(wordOf);
      before.forEach(push);
      return { push, end: () => "" };
    },
  };
}

/** Words with spaces where English has them, one by one. What is before a token never changes by what follows it. */
function speaker(wordOf: (id: number) => string): (id: number) => string {
  let tight = true; // nothing goes between the last word and this one
  let quoted = false;
  return (id) => {
    const word = wordOf(id);
    const closing = /^[.,;:!?)\]}%]$/.test(word) || (word === '"' && quoted) || word === "\n";
    const text = tight || closing ? word : ` ${word}`;
    if (word === '"') quoted = !quoted;
    if (word === "\n") quoted = false;
    tight = /^[([{\n]$/.test(word) || (word === '"' && quoted);
    return text;
  };
}
