/** Continuations as text: what tokens add to the text before them, whichever decoder it is. */
import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { trainBpe } from "../../src/text/bpe";
import { trainCharacters } from "../../src/text/characters";
import { type Tokenizer, tokenizerFrom } from "../../src/text/tokenizer";
import { trainWords } from "../../src/text/words";

const sample = 'The cat sat. "No," it said, "not (quite) that \u00e9\u{1f600}!" There.\nTwo cats';
const file = (parts: object) => tokenizerFrom({ tokenizer: { added_tokens: [], ...parts }, config: {} });
const numbered = (tokens: readonly string[]) => Object.fromEntries(tokens.map((token, id) => [token, id]));

const metaspace = { type: "Metaspace", replacement: "\u2581", prepend_scheme: "always" };
const pieces = ["<unk>", "\u2581", "\u2581The", "\u2581cat", "\u2581sat", "s", ".", "\u2581on", ..."abcdehiorty"];
const bytes = Array.from({ length: 256 }, (_, b) => `<0x${b.toString(16).toUpperCase().padStart(2, "0")}>`);
const tokenizers: Readonly<Record<string, Tokenizer>> = {
  bytes: tokenizerFrom(trainBpe([sample], { size: 280 })),
  characters: tokenizerFrom(trainCharacters([sample])),
  words: tokenizerFrom(trainWords([sample], { size: 40 })),
  "words of another tool": file({
    pre_tokenizer: { type: "Whitespace" },
    model: { type: "WordLevel", vocab: numbered(["<unk>", "The", "cat", "sat", "on", "."]), unk_token: "<unk>" },
  }),
  WordPiece: file({
    pre_tokenizer: { type: "BertPreTokenizer" },
    decoder: { type: "WordPiece", prefix: "##", cleanup: true },
    model: {
      type: "WordPiece",
      vocab: numbered(["[UNK]", "The", "cat", "##s", "sat", ".", "n", "##'", "##t", ","]),
      unk_token: "[UNK]",
    },
  }),
  Unigram: file({
    pre_tokenizer: metaspace,
    decoder: metaspace,
    model: { type: "Unigram", vocab: pieces.map((piece) => [piece, -piece.length]), unk_id: 0 },
  }),
  "SentencePiece with bytes": file({
    normalizer: {
      type: "Sequence",
      normalizers: [
        { type: "Prepend", prepend: "\u2581" },
        { type: "Replace", pattern: { String: " " }, content: "\u2581" },
      ],
    },
    decoder: {
      type: "Sequence",
      decoders: [
        { type: "Replace", pattern: { String: "\u2581" }, content: " " },
        { type: "ByteFallback" },
        { type: "Fuse" },
        { type: "Strip", content: " ", start: 1, stop: 0 },
      ],
    },
    model: { type: "BPE", vocab: numbered([...pieces, ...bytes]), merges: [], byte_fallback: true, unk_token: "<unk>" },
  }),
  "ends of words": file({
    pre_tokenizer: { type: "Whitespace" },
    decoder: { type: "BPEDecoder", suffix: "</w>" },
    model: { type: "BPE", vocab: numbered(["c", "a", "t</w>", "s", "t"]), merges: [], end_of_word_suffix: "</w>" },
  }),
};

/** The text that a continuation is given as, token by token. */
function spoken(tokenizer: Tokenizer, before: readonly number[], ids: readonly number[]): string {
  const stream = tokenizer.stream(before);
  return ids.map((id) => stream.push(id)).join("") + stream.end();
}

describe.each(Object.entries(tokenizers))("%s:", (_name, tokenizer) => {
  test("a continuation is what it adds to its prompt", () => {
    fc.assert(
      fc.property(fc.array(fc.nat(tokenizer.size - 1), { maxLength: 70, size: "max" }), fc.nat(70), (ids, at) => {
        const [before, after] = [ids.slice(0, at), ids.slice(at)];
        const whole = tokenizer.decode(ids);
        const prompt = tokenizer.decode(before);
        // A character may be begun in the prompt and be ended behind it.
        if (whole.startsWith(prompt)) expect(prompt + spoken(tokenizer, before, after)).toBe(whole);
        expect(spoken(tokenizer, [], ids)).toBe(whole);
      }),
      { numRuns: 150, seed: 8 },
    );
  });
});

test("the space between a prompt and what goes on is kept, and none is put within a word", () => {
  const said = (name: string, prompt: string, more: readonly string[]) => {
    const tokenizer = tokenizers[name]!;
    const ids = more.map(
      (token) => Array.from({ length: tokenizer.size }, (_, id) => id).find((id) => tokenizer.token(id) === token)!,
    );
    return spoken(tokenizer, tokenizer.encode(prompt), ids);
  };
  expect(said("words", "The cat", ["sat", "."])).toBe(" sat.");
  expect(said("words", 'The cat said, "', ["No", ",", '"', "it"])).toBe('No," it');
  expect(said("words of another tool", "The cat", ["sat", "on"])).toBe(" sat on");
  expect(said("WordPiece", "The cat", ["##s", "sat", "."])).toBe("s sat.");
  expect(said("Unigram", "The cat", ["s", "\u2581sat"])).toBe("s sat");
  expect(said("Unigram", "The cat", ["\u2581sat"])).toBe(" sat");
  expect(said("SentencePiece with bytes", "The", ["\u2581cat", "<0xC3>", "<0xA9>"])).toBe(" cat\u00e9");
});

test("takes no longer by the token the longer a line is", () => {
  for (const tokenizer of [tokenizers.bytes!, tokenizers.words!, tokenizers.Unigram!]) {
    // Letters, and bytes that are never a character.
    for (const id of [tokenizer.encode("cat").at(-1)!, tokenizer.encode("\u00e9").at(-1)!]) {
      const stream = tokenizer.stream();
      const began = performance.now();
      for (let i = 0; i < 20_000; i++) stream.push(id);
      stream.end();
      expect(performance.now() - began).toBeLessThan(5000);
    }
  }
});

test("a character that the prompt has begun is given once it is whole, and a broken one is no text of the answer", () => {
  const tokenizer = tokenizerFrom(trainBpe(["a"], { size: 257 }));
  const [a, b, c, d] = tokenizer.encode("🦉");
  const [x] = tokenizer.encode("x");
  for (const before of [[a!], [a!, b!], [a!, b!, c!], [x!, a!, b!]]) {
    const rest = [a!, b!, c!, d!].slice(before.filter((id) => id !== x).length);
    expect(spoken(tokenizer, before, [...rest, x!])).toBe("🦉x");
    expect(spoken(tokenizer, before, [x!])).toBe("x");
  }
});
