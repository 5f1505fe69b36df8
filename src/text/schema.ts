/** What a tokenizer.json must be: parts of known types, ids that are ids and stand for one token each, merges that are pairs of tokens. */
import { z } from "zod";
import { messageOf, shown, UserError } from "../errors";
import { firstIssue } from "../files";

/** Ids are below this. */
export const MOST_TOKENS = 1 << 24;

const flag = z.boolean().nullish();
const text = z.string().nullish();
const id = z.int().min(0).lt(MOST_TOKENS);

/** A normalizer, a pre-tokenizer or a decoder. */
const part = z.looseObject({
  type: z.string(),
  get normalizers() {
    return z.array(part).optional();
  },
  get pretokenizers() {
    return z.array(part).optional();
  },
  get decoders() {
    return z.array(part).optional();
  },
  pattern: z.union([z.looseObject({ String: z.string() }), z.looseObject({ Regex: z.string() })]).optional(),
  behavior: text,
  content: text,
  prepend: text,
  prefix: text,
  suffix: text,
  replacement: text,
  str_rep: text,
  pad_token: text,
  word_delimiter_token: text,
  precompiled_charsmap: text,
  prepend_scheme: z.enum(["always", "first", "never"]).nullish(),
  add_prefix_space: flag,
  use_regex: flag,
  invert: flag,
  split: flag,
  individual_digits: flag,
  cleanup: flag,
  clean_text: flag,
  handle_chinese_chars: flag,
  lowercase: flag,
  strip_accents: flag,
  strip_left: flag,
  strip_right: flag,
  start: z.int().min(0).optional(),
  stop: z.int().min(0).optional(),
  length: z.int().min(1).optional(),
});

const addedToken = z.looseObject({
  id,
  content: z.string(),
  special: z.boolean().default(false),
  single_word: z.boolean().default(false),
  lstrip: z.boolean().default(false),
  rstrip: z.boolean().default(false),
  normalized: z.boolean().optional(),
});

const file = z.looseObject({
  added_tokens: z
    .array(addedToken)
    .nullish()
    .transform((added) => (added ?? []).filter(({ content }) => content !== "")),
  normalizer: part.nullish(),
  pre_tokenizer: part.nullish(),
  decoder: part.nullish(),
  model: z.looseObject({
    type: z.enum(["BPE", "WordPiece", "WordLevel", "Unigram"]).optional(),
    vocab: z.unknown().optional(),
    merges: z.unknown().optional(),
    unk_token: text,
    unk_id: z.int().min(0).nullish(),
    continuing_subword_prefix: text,
    end_of_word_suffix: text,
    byte_fallback: flag,
    fuse_unk: flag,
    ignore_merges: flag,
    max_input_chars_per_word: z.int().min(1).nullish(),
  }),
});

export type Part = z.infer<typeof part>;
export type AddedToken = z.infer<typeof addedToken>;

export type Model = z.infer<typeof file>["model"] & {
  readonly type: "BPE" | "WordPiece" | "WordLevel" | "Unigram";
  readonly merges: readonly (readonly [string, string])[];
};

export interface TokenizerFile {
  readonly added: readonly AddedToken[];
  readonly normalizer: Part | null;
  readonly preTokenizer: Part | null;
  readonly decoder: Part | null;
  readonly model: Model;
  /** All tokens with their ids, added ones too. */
  readonly vocabulary: ReadonlyMap<string, number>;
}

/** Checks a parsed tokenizer.json. `where` names it in the error. */
export function parseTokenizer(given: unknown, where: string): TokenizerFile {
  try {
    const { added_tokens: added, normalizer, pre_tokenizer, decoder, model } = file.parse(given);
    // What is not read here is kept and written again: too deep for that is too deep.
    JSON.stringify({ ...(given as object), model: { ...model, vocab: null, merges: null } });
    const kind = model.type ?? kindOf(model);
    if (kind === "WordPiece" && typeof model.unk_token !== "string")
      throw new Error(
        "its model is a WordPiece without an unk_token, which stands for words that it has no pieces for",
      );
    const own = kind === "Unigram" ? unigramVocabulary(model) : plainVocabulary(model.vocab);
    const merges = kind === "BPE" ? mergesOf(model.merges, own) : [];
    return {
      added,
      normalizer: normalizer ?? null,
      preTokenizer: pre_tokenizer ?? null,
      decoder: decoder ?? null,
      model: { ...model, type: kind, merges },
      vocabulary: withAdded(own, added),
    };
  } catch (cause) {
    throw new UserError(`${where} is not a tokenizer that can be read: ${reason(cause)}`, {
      hint: "a tokenizer.json has a model with a vocab, and for BPE its merges",
      cause,
    });
  }
}

function reason(error: unknown): string {
  if (error instanceof RangeError) return "it is nested too deeply";
  return firstIssue(error) ?? messageOf(error);
}

/** Older files do not say what their model is. */
function kindOf(model: Readonly<Record<string, unknown>>): Model["type"] {
  if (Array.isArray(model.vocab)) return "Unigram";
  if (model.merges !== undefined) return "BPE";
  return typeof model.continuing_subword_prefix === "string" ? "WordPiece" : "WordLevel";
}

/** Tokens to ids. */
function plainVocabulary(vocab: unknown): Map<string, number> {
  if (typeof vocab !== "object" || vocab === null || Array.isArray(vocab))
    throw new Error("its vocab is not an object of tokens and their ids");
  const ids = new Map<string, number>(Object.entries(vocab));
  if (ids.size === 0) throw new Error("it has no vocabulary");
  const tokens: string[] = [];
  for (const [token, id] of ids) {
    if (!(Number.isInteger(id) && id >= 0 && id < MOST_TOKENS))
      throw new Error(`the id of ${shown(token)} is ${shown(id)}: ids are whole numbers from 0 to ${MOST_TOKENS - 1}`);
    const other = tokens[id];
    if (other !== undefined) throw new Error(`${shown(other)} and ${shown(token)} have the same id, ${id}`);
    tokens[id] = token;
  }
  return ids;
}

function unigramVocabulary({
  vocab,
  unk_id: unknown,
}: {
  readonly vocab?: unknown;
  readonly unk_id?: number | null | undefined;
}) {
  if (!Array.isArray(vocab) || vocab.length === 0)
    throw new Error("its vocab is not a list of tokens and their scores");
  if (vocab.length > MOST_TOKENS) throw new Error(`it has ${vocab.length} tokens: ${MOST_TOKENS} are allowed`);
  if (unknown != null && unknown >= vocab.length)
    throw new Error(`its unk_id is ${unknown}, and the vocab has ${vocab.length} tokens`);
  const ids = new Map<string, number>();
  vocab.forEach((entry: unknown, id) => {
    const [token, score] = Array.isArray(entry) ? entry : [];
    if (typeof token !== "string" || typeof score !== "number")
      throw new Error(`vocab.${id} is ${shown(entry)}, and not a token and its score`);
    if (!ids.has(token)) ids.set(token, id);
  });
  return ids;
}

/** Each merge is two tokens that together are a third: in a list, or between one space. */
function mergesOf(merges: unknown, vocabulary: ReadonlyMap<string, number>): [string, string][] {
  if (!Array.isArray(merges)) throw new Error("its merges are not a list");
  return merges.map((merge: unknown, i) => {
    const pair: readonly unknown[] = typeof merge === "string" ? merge.split(" ") : Array.isArray(merge) ? merge : [];
    const [left, right] = pair;
    if (pair.length !== 2 || typeof left !== "string" || typeof right !== "string" || left === "" || right === "")
      throw new Error(`merges.${i} is ${shown(merge)}, and not a pair of tokens`);
    for (const token of [left, right, left + right])
      if (!vocabulary.has(token))
        throw new Error(`merges.${i} needs the token ${shown(token)}, which vocab does not have`);
    return [left, right];
  });
}

/** Added tokens are those of the vocabulary, or stand under ids of their own. */
function withAdded(own: ReadonlyMap<string, number>, added: readonly AddedToken[]): Map<string, number> {
  const all = new Map(own);
  const taken = new Set(own.values());
  for (const { id, content } of added) {
    const before = all.get(content);
    if (before !== undefined && before !== id)
      throw new Error(`the added token ${shown(content)} has the ids ${before} and ${id}`);
    if (before === undefined && taken.has(id))
      throw new Error(`the id ${id} of the added token ${shown(content)} is another token's`);
    all.set(content, id);
    taken.add(id);
  }
  return all;
}
