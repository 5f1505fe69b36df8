/** Text <-> token ids, by Hugging Face's tokenizers: reads any tokenizer.json. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { AddedToken as AddedTokenOfLibrary, Tokenizer as HuggingFace } from "@huggingface/tokenizers";
import { messageOf, UserError } from "../errors";
import { jsonObject, MOST_TEXT_BYTES, type Parser, readJson, readTextFile } from "../files";
import { splitter } from "./added";
import { inDialect } from "./dialect";
import { END_OF_TEXT, type TokenizerFiles, tokenText } from "./files";
import { MOST_TEMPLATE_BYTES } from "./jinja";
import { addedSchema, configSchema, olderTokenizer, specialsSchema, withBeside } from "./older-files";
import { type AddedToken, parseTokenizer, type TokenizerFile } from "./schema";
import { type Codec, type TextStream, windowed } from "./stream";
import { type WordFile, wordTokenizer } from "./words";

export interface Tokenizer {
  /** BPE, WordPiece, WordLevel or Unigram. */
  readonly kind: string;
  /** Ids are below this. */
  readonly size: number;
  /** The id that ends a document, if there is one. */
  readonly endOfText: number | null;
  /** What rows may be padded with: never the end token, with which all texts end that are scored. */
  readonly padding: number;
  readonly files: TokenizerFiles;
  /** Tokens that are found in text before anything else is done with it. */
  readonly added: readonly AddedToken[];
  /**
   * Throws a UserError on a character that the vocabulary does not have. Special tokens such as <|endoftext|> are read as plain text,
   * since anybody may write them; with `special` they are the tokens that they name, but for those that the character `shield` stands in,
   * which is itself left out.
   */
  encode(text: string, options?: { readonly special?: boolean; readonly shield?: string }): number[];
  decode(ids: readonly number[]): string;
  /** Text of tokens as they come: what they add to the text of those `before`. */
  stream(before?: readonly number[]): TextStream;
  /** The token as written in the vocabulary. */
  token(id: number): string;
  /** Whether text may be cut before white space that follows something else, and its parts encoded on their own. */
  readonly cutsAtSpaces: boolean;
}

/** Makes a tokenizer from the two parsed files. `where` names them in errors. */
export function tokenizerFrom(files: TokenizerFiles, where = "the tokenizer"): Tokenizer {
  const file = parseTokenizer(files.tokenizer, where);
  const words = file.model.type === "WordLevel" ? wordTokenizer(files.tokenizer as unknown as WordFile) : null;
  const text = words ?? fromLibrary(file, where);
  const tokens: string[] = [];
  for (const [token, id] of file.vocabulary) tokens[id] = token;
  const endOfText = file.vocabulary.get(tokenText(files.config.eos_token) ?? END_OF_TEXT) ?? null;
  return {
    kind: file.model.type,
    size: tokens.length,
    endOfText,
    padding: paddingOf(file.vocabulary, tokenText(files.config.pad_token), endOfText),
    files,
    added: file.added,
    encode: (given, { special = false, shield = "" } = {}) => text.encode(given, special, shield),
    decode: text.decode,
    stream: text.stream,
    token: (id) => tokens[id] ?? "",
    cutsAtSpaces: words !== null || cutsAtSpaces(file),
  };
}

/** How byte-level vocabularies write a byte of 0, which no text has. */
const NUL = "\u0100";

/** The tokenizer's own token for it, unless that ends a text too; else one that no text has; else any that does not end one. */
function paddingOf(vocabulary: ReadonlyMap<string, number>, own: string | null, endOfText: number | null): number {
  const known = [own ?? "", NUL].flatMap((token) => vocabulary.get(token) ?? []);
  return known.find((id) => id !== endOfText) ?? (endOfText === 0 ? 1 : 0);
}

/** The same tokenizer, saved with this chat template. */
export function withTemplate(tokenizer: Tokenizer, source: string): Tokenizer {
  const { files } = tokenizer;
  return { ...tokenizer, files: { ...files, config: { ...files.config, chat_template: source } } };
}

/** Characters of a single word at most: the library takes hundreds of bytes for each, and more for Unigram. */
const longestWord = ({ model }: TokenizerFile) => (model.type === "Unigram" ? 1 << 18 : 1 << 20);

function fromLibrary(file: TokenizerFile, where: string): Codec {
  let inner: HuggingFace;
  try {
    const { tokenizer, config } = inDialect(file);
    inner = new HuggingFace(tokenizer, config);
  } catch (cause) {
    throw new UserError(`${where} is not a tokenizer that can be read: ${messageOf(cause)}`, { cause });
  }
  const { normalizer, pre_tokenizer: preTokenizer, decoder } = inner;
  const model = inner.model!;
  for (const { id, content, special } of file.added) {
    model.vocab[id] = content;
    // Else a model of whole words would find in plain text what nothing may write.
    if (special && content.length > 1) model.tokens_to_ids.delete(content);
  }
  // A byte-order mark is a character like any other.
  for (const part of partsOf(decoder))
    if ("text_decoder" in part) part.text_decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  if (decoder)
    decoder.added_tokens = file.added.map(
      ({ normalized, ...token }) =>
        new AddedTokenOfLibrary({ ...token, ...(normalized !== undefined && { normalized }) }),
    );
  const { type, byte_fallback: fallsBack, end_of_word_suffix: suffix, unk_token: unknownToken } = file.model;
  const unknown = model.unk_token_id;
  // Where nothing stands for the unknown, the library leaves it out.
  const complete = type === "BPE" && !unknownToken && !fallsBack && !suffix;
  const longest = longestWord(file);
  const encodePieces = (pieces: string[]): number[] => {
    for (const { length } of pieces)
      if (length > longest)
        throw new UserError(`a single word of ${length} characters cannot be encoded`, {
          hint: `words have at most ${longest} characters; break it by spaces or line ends`,
        });
    const tokens = model(pieces);
    if (complete && lengthOf(tokens) !== lengthOf(pieces)) throw unknownCharacter(pieces, file);
    return tokens.flatMap((token) => {
      const id = model.tokens_to_ids.get(token);
      if (id !== undefined) return id;
      const bytes = fallsBack ? bytesOf(token).map((byte) => model.tokens_to_ids.get(byte)) : [undefined];
      return bytes.map((byte) => {
        const id = byte ?? unknown;
        if (id === undefined) throw unknownCharacter([token], file);
        return id;
      });
    });
  };
  const encodePlain = (text: string, first: boolean): number[] =>
    text === "" ? [] : encodePieces(preTokenizer ? preTokenizer(text, { section_index: first ? 0 : 1 }) : [text]);
  const encodeCharacters = (text: string): number[] =>
    Array.from(text, (character) => {
      const id = model.tokens_to_ids.get(character);
      if (id === undefined) throw unknownCharacter([character], file);
      return id;
    });
  const byCharacter = complete && isCharacterLevel(file) && file.model.merges.length === 0;
  const byWord = cutsAtWhiteSpace(file) && !isCharacterLevel(file);
  const encodeWords = byCharacter
    ? encodeCharacters
    : byWord
      ? wordMemo((text) => encodePlain(text, true))
      : encodePlain;
  const isNormalized = ({ normalized, special }: AddedToken) => normalized ?? !special;
  const asWritten = splitter(file.added.filter((token) => !isNormalized(token)));
  const normalize = (text: string) => (normalizer ? normalizer(text) : text);
  const asNormalized = splitter(file.added.filter(isNormalized), ({ content }) => normalize(content));
  const decode = (ids: readonly number[]) => {
    // A model may have rows that no token stands for.
    const known = ids.filter((id) => model.vocab[id] !== undefined);
    return known.length ? inner.decode(known, { skip_special_tokens: false, clean_up_tokenization_spaces: false }) : "";
  };
  return {
    encode: (text, special, shield) => {
      const plain = (text: string) => (shield ? text.replaceAll(shield, "") : text);
      return asWritten(text, special).flatMap((section, i) => {
        if (typeof section === "number") return section;
        return asNormalized(normalize(section), special).flatMap((part, j) =>
          typeof part === "number" ? part : encodeWords(plain(part), i + j === 0),
        );
      });
    },
    decode,
    stream: (before) => windowed(decode, before),
  };
}

/** A decoder, or the decoders that it is made of. */
function partsOf(decoder: object | null): readonly object[] {
  if (decoder === null) return [];
  return "decoders" in decoder ? (decoder.decoders as object[]).flatMap(partsOf) : [decoder];
}

const lengthOf = (parts: readonly string[]) => parts.reduce((sum, { length }) => sum + length, 0);

/** How a vocabulary writes bytes that are no characters of it. */
function bytesOf(text: string): string[] {
  return [...new TextEncoder().encode(text)].map((byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`);
}

/** Words whose tokens are remembered, and how long they may be. */
const MEMO = 1 << 16;
const LONGEST = 64;

/** The same encoding word by word, each with the white space before it, and each only once: most of a text are words that were there before. */
function wordMemo(encode: (text: string) => number[]): (text: string) => number[] {
  const known = new Map<string, readonly number[]>();
  return (text) => {
    const all: number[] = [];
    for (const word of text.match(/\p{White_Space}*\P{White_Space}+|\p{White_Space}+$/gu) ?? []) {
      let ids = known.get(word);
      if (!ids) {
        ids = encode(word);
        if (known.size >= MEMO) known.clear();
        if (word.length <= LONGEST) known.set(word, ids);
      }
      for (const id of ids) all.push(id);
    }
    return all;
  };
}

/** Reads tokenizer.json from a directory, or what was there before it, with the files beside it that say more of it. */
export async function loadTokenizer(directory: string): Promise<Tokenizer> {
  const path = join(directory, "tokenizer.json");
  const tokenizer = readFile(path, jsonObject);
  const config = readFile(join(directory, "tokenizer_config.json"), configSchema) ?? {};
  // Newer releases of transformers keep the chat template in a file of its own, which then counts.
  const template = join(directory, "chat_template.jinja");
  const chat = existsSync(template)
    ? { chat_template: readTextFile(template, template, { most: MOST_TEMPLATE_BYTES }) }
    : {};
  const beside = {
    config: { ...config, ...chat },
    added: readFile(join(directory, "added_tokens.json"), addedSchema) ?? {},
    specials: readFile(join(directory, "special_tokens_map.json"), specialsSchema) ?? {},
  };
  if (tokenizer) return tokenizerFrom(withBeside(tokenizer, beside), path);
  const older = join(directory, "vocab.json");
  const vocabulary = readFile(older, jsonObject);
  const merges = join(directory, "merges.txt");
  if (vocabulary && existsSync(merges)) {
    const ids = Object.fromEntries(
      parseTokenizer({ model: { type: "WordLevel", vocab: vocabulary } }, older).vocabulary,
    );
    return tokenizerFrom(olderTokenizer(ids, readTextFile(merges, merges, { most: MOST_TEXT_BYTES }), beside), older);
  }
  throw new UserError(`no tokenizer at ${path}`, {
    hint: "a model directory holds tokenizer.json; `dawngrad tokenizer train` makes one",
  });
}

/** Writes both files into an existing directory, where loadTokenizer and Hugging Face's tools read them. */
export async function writeTokenizer(directory: string, { tokenizer, config }: TokenizerFiles): Promise<void> {
  await Bun.write(join(directory, "tokenizer.json"), `${JSON.stringify(tokenizer)}\n`);
  await Bun.write(join(directory, "tokenizer_config.json"), `${JSON.stringify(config, null, 2)}\n`);
}

/** Null where there is no such file. */
function readFile<T>(path: string, parser: Parser<T>): T | null {
  return existsSync(path) ? readJson(path, parser, "the file may be truncated; fetch or train it again") : null;
}

/** `pieces` are as the model gets them: of bytes, where it is one of bytes. */
function unknownCharacter(pieces: readonly string[], { vocabulary, preTokenizer }: TokenizerFile): UserError {
  const unknown =
    pieces.flatMap((piece) => [...piece]).find((character) => !vocabulary.has(character)) ?? pieces[0] ?? "";
  const bytes = JSON.stringify(preTokenizer).includes('"ByteLevel"');
  return new UserError(`the tokenizer has no token for ${bytes ? "the byte written " : ""}${JSON.stringify(unknown)}`, {
    hint: bytes
      ? "a byte-level vocabulary has each of the 256 bytes"
      : "a character-level vocabulary knows only the characters of its training text",
  });
}

/** One token a character, as trainCharacters writes it. */
function isCharacterLevel({ preTokenizer: split }: TokenizerFile): boolean {
  return split?.type === "Split" && split.pattern?.Regex === "[\\s\\S]";
}

/** Byte-level BPE on GPT-2's split, and character level, never join a non-space with white space behind it. */
function cutsAtWhiteSpace(file: TokenizerFile): boolean {
  const { preTokenizer: split, normalizer } = file;
  if (normalizer || !split) return false;
  return isCharacterLevel(file) || (split.type === "ByteLevel" && !split.add_prefix_space && split.use_regex !== false);
}

/** Added tokens may have white space in them, or take what is beside them. */
function cutsAtSpaces(file: TokenizerFile): boolean {
  const apart = ({ content, lstrip, rstrip }: AddedToken) => !lstrip && !rstrip && !/\p{White_Space}/u.test(content);
  return cutsAtWhiteSpace(file) && file.added.every(apart);
}
