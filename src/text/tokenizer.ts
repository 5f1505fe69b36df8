/** Text <-> token ids, by Hugging Face's tokenizers: reads any tokenizer.json. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { Tokenizer as HuggingFace } from "@huggingface/tokenizers";
import { messageOf, UserError } from "../errors";
import { jsonObject, readJson, readTextFile } from "../files";
import { END_OF_TEXT, type TokenizerFiles, tokenizerFiles, tokenText } from "./files";
import { MOST_TEMPLATE_BYTES } from "./jinja";
import { type WordFile, wordTokenizer } from "./words";

export interface Tokenizer {
  /** Ids are below this. */
  readonly size: number;
  /** The id that ends a document, if there is one. */
  readonly endOfText: number | null;
  readonly files: TokenizerFiles;
  /**
   * Throws a UserError on a character that the vocabulary does not have. Special tokens such as <|endoftext|> are read as plain text,
   * since anybody may write them; with `special` they are the tokens that they name.
   */
  encode(text: string, options?: { readonly special?: boolean }): number[];
  decode(ids: readonly number[]): string;
  /** The token as written in the vocabulary. */
  token(id: number): string;
  /** Whether text may be cut before white space that follows something else, and its parts encoded on their own. */
  readonly cutsAtSpaces: boolean;
}

/** Makes a tokenizer from the two parsed files. `where` names them in errors. */
export function tokenizerFrom(files: TokenizerFiles, where = "the tokenizer"): Tokenizer {
  if ((files.tokenizer.model as { type?: unknown } | undefined)?.type === "WordLevel") return fromWords(files, where);
  let inner: HuggingFace;
  try {
    inner = new HuggingFace(files.tokenizer, files.config);
  } catch (cause) {
    throw new UserError(`${where} is not a tokenizer that can be read: ${messageOf(cause)}`, {
      hint: "a tokenizer.json has a model with a vocab, and for BPE its merges",
      cause,
    });
  }
  const vocabulary = inner.get_vocab(true);
  if (vocabulary.size === 0) throw new UserError(`${where} has no vocabulary`);
  const size = Math.max(...vocabulary.values()) + 1;
  const endOfText = inner.token_to_id(tokenText(files.config.eos_token) ?? END_OF_TEXT) ?? null;
  const characters = isCharacterLevel(files.tokenizer);
  const decode = (ids: readonly number[]) =>
    ids.length === 0 ? "" : inner.decode([...ids], { skip_special_tokens: false, clean_up_tokenization_spaces: false });
  const specials = ((files.tokenizer.added_tokens ?? []) as readonly { content?: unknown }[])
    .map(({ content }) => content)
    .filter((content) => typeof content === "string");
  let withoutSpecials: HuggingFace | undefined;
  const readerOf = (text: string, special: boolean): HuggingFace => {
    if (special || !specials.some((content) => text.includes(content))) return inner;
    withoutSpecials ??= new HuggingFace({ ...files.tokenizer, added_tokens: [] }, {});
    return withoutSpecials;
  };
  const cuts = cutsAtSpaces(files.tokenizer);
  const byWord = cuts && !characters ? wordMemo((text) => inner.encode(text, { add_special_tokens: false }).ids) : null;
  return {
    size,
    endOfText,
    files,
    encode: (text, { special = false } = {}) => {
      const reader = readerOf(text, special);
      if (byWord && reader === inner) return byWord(text);
      const { ids } = reader.encode(text, { add_special_tokens: false });
      if (characters && decode(ids) !== text) throw unknownCharacter(text, vocabulary);
      return ids;
    },
    decode,
    token: (id) => inner.id_to_token(id) ?? "",
    cutsAtSpaces: cuts,
  };
}

/** Words whose tokens are remembered, and how long they may be. */
const MEMO = 1 << 16;
const LONGEST = 64;

/** The same encoding word by word, each with the white space before it, and each only once: most of a text are words that were there before. */
function wordMemo(encode: (text: string) => number[]): (text: string) => number[] {
  const known = new Map<string, readonly number[]>();
  return (text) => {
    const all: number[] = [];
    for (const word of text.match(/\s*\S+|\s+$/g) ?? []) {
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

/** Hugging Face's JavaScript library has no word-level model. */
function fromWords(files: TokenizerFiles, where: string): Tokenizer {
  const file = files.tokenizer as unknown as WordFile;
  const words = wordTokenizer(file);
  if (!words) {
    throw new UserError(`${where} is a WordLevel tokenizer that cleans or splits text in a way of its own`, {
      hint: "word-level tokenizers can be read that `dawngrad tokenizer train --kind word` has written",
    });
  }
  return {
    size: Math.max(...Object.values(file.model.vocab)) + 1,
    endOfText: file.model.vocab[END_OF_TEXT] ?? null,
    files,
    encode: (text, { special = false } = {}) => words.encode(text, special),
    decode: words.decode,
    token: words.token,
    cutsAtSpaces: true,
  };
}

/** Reads tokenizer.json from a directory, and tokenizer_config.json and chat_template.jinja if they are there. */
export async function loadTokenizer(directory: string): Promise<Tokenizer> {
  const path = join(directory, "tokenizer.json");
  const tokenizer = readFile(path);
  if (!tokenizer) {
    const older = await readOlderFiles(directory);
    if (older) return tokenizerFrom(older, join(directory, "vocab.json"));
    throw new UserError(`no tokenizer at ${path}`, {
      hint: "a model directory holds tokenizer.json; `dawngrad tokenizer train` makes one",
    });
  }
  const config = readFile(join(directory, "tokenizer_config.json")) ?? {};
  // Newer releases of transformers keep the chat template in a file of its own, which then counts.
  const template = join(directory, "chat_template.jinja");
  const chat = existsSync(template)
    ? { chat_template: readTextFile(template, template, { most: MOST_TEMPLATE_BYTES }) }
    : {};
  return tokenizerFrom({ tokenizer, config: { ...config, ...chat } }, path);
}

/** vocab.json and merges.txt: how GPT-2's tokenizer was kept before tokenizer.json. */
async function readOlderFiles(directory: string): Promise<TokenizerFiles | null> {
  const vocabulary = readFile(join(directory, "vocab.json")) as Record<string, number> | null;
  const merges = Bun.file(join(directory, "merges.txt"));
  if (!vocabulary || !(await merges.exists())) return null;
  const lines = (await merges.text()).split("\n").filter((line) => line !== "" && !line.startsWith("#version"));
  return tokenizerFiles({
    vocabulary,
    merges: lines.map((line) => line.split(" ") as [string, string]),
    preTokenizer: { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: true },
    decoder: { type: "ByteLevel", add_prefix_space: true, trim_offsets: true, use_regex: true },
    endOfText: vocabulary[END_OF_TEXT] ?? Object.keys(vocabulary).length,
  });
}

/** Writes both files into an existing directory, where loadTokenizer and Hugging Face's tools read them. */
export async function writeTokenizer(directory: string, { tokenizer, config }: TokenizerFiles): Promise<void> {
  await Bun.write(join(directory, "tokenizer.json"), `${JSON.stringify(tokenizer)}\n`);
  await Bun.write(join(directory, "tokenizer_config.json"), `${JSON.stringify(config, null, 2)}\n`);
}

/** Null where there is no such file. */
function readFile(path: string): Record<string, unknown> | null {
  return existsSync(path) ? readJson(path, jsonObject, "the file may be truncated; fetch or train it again") : null;
}

function unknownCharacter(text: string, vocabulary: ReadonlyMap<string, number>): UserError {
  const unknown = [...text].find((character) => !vocabulary.has(character)) ?? "";
  return new UserError(`the tokenizer has no token for ${JSON.stringify(unknown)}`, {
    hint: "a character-level vocabulary knows only the characters of its training text",
  });
}

interface PreTokenizer {
  readonly type?: string;
  readonly add_prefix_space?: boolean;
  readonly use_regex?: boolean;
  readonly pattern?: { readonly Regex?: string };
}

/** One token a character, as trainCharacters writes it. What it does not know it would drop without a word. */
function isCharacterLevel(tokenizer: Readonly<Record<string, unknown>>): boolean {
  const split = tokenizer.pre_tokenizer as PreTokenizer | null;
  return split?.type === "Split" && split.pattern?.Regex === "[\\s\\S]";
}

/** Byte-level BPE on GPT-2's split, and character level, never join a non-space with white space behind it. */
function cutsAtSpaces(tokenizer: Readonly<Record<string, unknown>>): boolean {
  const split = tokenizer.pre_tokenizer as PreTokenizer | null;
  if (tokenizer.normalizer || !split) return false;
  return (
    isCharacterLevel(tokenizer) ||
    (split.type === "ByteLevel" && split.add_prefix_space === false && split.use_regex !== false)
  );
}
