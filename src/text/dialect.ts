/**
 * tokenizer.json as the JavaScript library reads it. Where that reads a part otherwise than Hugging Face's own implementation does, the part
 * is said here in other words; what cannot be said so is refused.
 */
import { splitPattern } from "./bytes";
import type { Part, TokenizerFile } from "./schema";

const PUNCTUATION = "\\p{P}!-/:-@\\[-`{-~";
/** What a word is made of, within brackets of an expression. */
export const WORD = "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\u200c\\u200d";

/** What the library is given instead of the file. Added tokens are found before it, and what surrounds texts is not wanted. */
export function inDialect({ normalizer, preTokenizer, decoder, model, added }: TokenizerFile) {
  if (model.type === "BPE" && model.continuing_subword_prefix)
    throw new Error("a BPE with a continuing_subword_prefix cannot be read");
  return {
    tokenizer: {
      added_tokens: [],
      normalizer: normalizer && normalizerOf(normalizer),
      pre_tokenizer: preTokenizer && preTokenizerOf(preTokenizer),
      decoder: decoder && decoderOf(decoder),
      post_processor: null,
      model: modelOf(model, new Set(added.filter(({ special }) => special).map(({ content }) => content))),
    },
    config: { unk_token: model.unk_token ?? undefined },
  };
}

function modelOf(model: TokenizerFile["model"], special: ReadonlySet<string>): object {
  // The library looks words up where the model has a vocab and no type that it knows.
  if (model.type === "WordLevel") return { vocab: model.vocab };
  if (model.type !== "Unigram") return defined(model);
  // Half a character, which no text has, keeps special tokens from being found in plain text.
  const hidden = (token: string) => (special.has(token) ? `\ud800${token}` : token);
  return {
    ...defined(model),
    vocab: (model.vocab as [string, number][]).map(([token, score]) => [hidden(token), score]),
  };
}

/** The library takes null for a value. */
function defined(given: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== null));
}

function normalizerOf(given: Part): object {
  switch (given.type) {
    case "Sequence":
      return { ...given, normalizers: (given.normalizers ?? []).map(normalizerOf) };
    case "Strip":
      return {
        type: "Sequence",
        normalizers: [
          ...(given.strip_left ? [replaced("\\A\\s+", "")] : []),
          ...(given.strip_right ? [replaced("(?<!\\s)\\s+\\z", "")] : []),
        ],
      };
    case "StripAccents":
      return replaced("\\p{M}", "");
    case "Lowercase":
      return { type: "Sequence", normalizers: [plainSigma, given] };
    case "BertNormalizer":
      return {
        type: "Sequence",
        normalizers: [
          ...(given.lowercase ? [plainSigma] : []),
          ...(given.handle_chinese_chars ? [replaced(RARE_IDEOGRAPHS, " $& ")] : []),
          defined(given),
        ],
      };
    case "Replace":
      return { ...given, pattern: patternOf(given), content: literal(given.content ?? "") };
    default:
      return defined(given);
  }
}

const replaced = (regex: string, content: string) => ({ type: "Replace", pattern: { Regex: regex }, content });

/** Lower case letter by letter: a sigma at the end of a word is like any other. */
const plainSigma = replaced("\u03a3", "\u03c3");

/** Those of two UTF-16 units, which the library does not take for ideographs. */
const RARE_IDEOGRAPHS = "[\u{20000}-\u{2a6df}\u{2a700}-\u{2b81f}\u{2b920}-\u{2ceaf}\u{2f800}-\u{2fa1f}]";

/** Without one the library would leave the part out. */
function patternOf({ type, pattern }: Part): NonNullable<Part["pattern"]> {
  if (pattern) return pattern;
  throw new Error(`a ${type} without a pattern cannot be read`);
}

/** What String.replaceAll would take for a group. */
const literal = (content: string) => content.replaceAll("$", "$$$$");

function preTokenizerOf(given: Part): object {
  switch (given.type) {
    case "Sequence":
      return { ...given, pretokenizers: (given.pretokenizers ?? []).map(preTokenizerOf) };
    case "ByteLevel": {
      const bytes = { type: "ByteLevel", add_prefix_space: false, use_regex: false };
      const prefix = given.add_prefix_space ? [replaced("\\A(?! )", " ")] : [];
      const split = given.use_regex !== false ? [isolated(splitPattern.source)] : [];
      return { type: "Sequence", pretokenizers: [...prefix, ...split, bytes] };
    }
    case "Metaspace": {
      // A piece begins with each space.
      const space = given.replacement ?? "\u2581";
      const words = kept(`${escaped(space)}[^${escaped(space)}]*|[^${escaped(space)}]+`);
      const scheme = given.add_prefix_space === false ? "never" : (given.prepend_scheme ?? "always");
      const spaced = { type: "Metaspace", replacement: space, prepend_scheme: scheme };
      return given.split === false ? spaced : { type: "Sequence", pretokenizers: [spaced, words] };
    }
    case "Whitespace":
      return kept(`[${WORD}]+|[^${WORD}\\s]+`);
    case "WhitespaceSplit":
      return kept("\\S+");
    case "BertPreTokenizer":
      return kept(`[^\\s${PUNCTUATION}]+|[${PUNCTUATION}]`);
    case "Punctuation":
      return splitBy(`[${PUNCTUATION}]`, given.behavior ?? "Isolated", false);
    case "Digits":
      return isolated(given.individual_digits ? "\\p{N}" : "\\p{N}+");
    case "FixedLength":
      return kept(`[\\s\\S]{1,${given.length ?? 5}}`);
    case "Split": {
      const pattern = patternOf(given);
      const regex = "Regex" in pattern ? String(pattern.Regex) : escaped(String(pattern.String));
      return splitBy(regex, given.behavior ?? "Isolated", given.invert ?? false);
    }
    default:
      return defined(given);
  }
}

/** Text between matches is kept too. */
const isolated = (regex: string) => ({
  type: "Split",
  pattern: { Regex: regex },
  behavior: "Isolated",
  invert: false,
});

/** Only matches are kept. */
const kept = (regex: string) => ({ type: "Split", pattern: { Regex: regex }, behavior: "Removed", invert: true });

function splitBy(regex: string, behavior: string, invert: boolean): object {
  if (behavior === "Isolated") return isolated(regex);
  if (behavior === "Removed") return invert ? kept(regex) : { ...kept(regex), invert };
  if (behavior === "Contiguous" && !invert) return isolated(`(?:${regex})+`);
  const one = `(?:${regex})`;
  const other = `(?:(?!${one})[\\s\\S])`;
  if (behavior === "MergedWithPrevious" && !invert) return kept(`${other}*${one}|${other}+`);
  if (behavior === "MergedWithNext" && !invert) return kept(`${one}${other}*|${other}+`);
  throw new Error(`text that is split with the behavior ${JSON.stringify(behavior)} cannot be read`);
}

const escaped = (text: string) => text.replace(/[.*+?^${}()|[\]\\/-]/g, "\\$&");

function decoderOf(given: Part): object {
  switch (given.type) {
    case "Sequence":
      return { ...given, decoders: (given.decoders ?? []).map(decoderOf) };
    case "Metaspace":
      // The first space is one where none was put before the text.
      return given.prepend_scheme === "never"
        ? { type: "Replace", pattern: { String: given.replacement ?? "\u2581" }, content: " " }
        : defined(given);
    case "WordPiece":
      return { ...given, prefix: given.prefix ?? "##" };
    case "Replace":
      return { ...given, pattern: patternOf(given), content: literal(given.content ?? "") };
    default:
      return defined(given);
  }
}
