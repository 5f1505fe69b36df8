/** Tokenizer files that are not what they should be: each is refused with what is wrong with it. */
import { describe, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { UserError } from "../../src/errors";
import { trainBpe } from "../../src/text/bpe";
import { MOST_TOKENS } from "../../src/text/schema";
import { chatTemplate, savedTemplate } from "../../src/text/template";
import { loadTokenizer, tokenizerFrom } from "../../src/text/tokenizer";
import golden from "../golden/tokenizer_files.json";
import { temporaryFolder } from "../support/folder";

/** What is said of a folder with these files; null where it is read. */
async function refusal(files: Readonly<Record<string, unknown>>): Promise<string | null> {
  using folder = temporaryFolder();
  for (const [name, content] of Object.entries(files))
    writeFileSync(join(folder.path, name), typeof content === "string" ? content : JSON.stringify(content));
  try {
    await loadTokenizer(folder.path);
    return null;
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    return error.message.replaceAll(`${folder.path}/`, "");
  }
}

const vocab = { a: 0, b: 1, ab: 2 };
const bpe = (model: object, more: object = {}) => ({ "tokenizer.json": { model: { type: "BPE", ...model }, ...more } });
const older = (vocab: unknown, merges = "a b\n", more: object = {}) => ({
  "vocab.json": vocab,
  "merges.txt": merges,
  ...more,
});
const fine = bpe({ vocab, merges: ["a b"] });
const unread = "tokenizer.json is not a tokenizer that can be read: ";

describe("a tokenizer.json is refused", () => {
  test.each([
    ["an empty object", "{}", `${unread}model: expected object, received undefined`],
    ["a list", "[]", "tokenizer.json is not valid JSON: expected an object"],
    ["null", "null", "tokenizer.json is not valid JSON: expected an object"],
    ["a number", "3", "tokenizer.json is not valid JSON: expected an object"],
    ["no model", { model: null }, `${unread}model: expected object, received null`],
    [
      "no vocabulary",
      { model: { type: "BPE", merges: [] } },
      `${unread}its vocab is not an object of tokens and their ids`,
    ],
    ["an empty one", { model: { type: "BPE", vocab: {}, merges: [] } }, `${unread}it has no vocabulary`],
    [
      "lists in lists",
      "[".repeat(300_000) + "]".repeat(300_000),
      "tokenizer.json is not valid JSON: expected an object",
    ],
    [
      "an unknown model",
      { model: { type: "Neural", vocab } },
      `${unread}model.type: Invalid option: expected one of "BPE"|"WordPiece"|"WordLevel"|"Unigram"`,
    ],
  ])("that is, or has, %s", async (_name, content, message) => {
    expect(await refusal({ "tokenizer.json": content })).toBe(message);
  });
  test.each(["decoder", "truncation", "model.x"])("whose %s is nested too deeply", async (key) => {
    const deep = `${'{"type":"Sequence","decoders":['.repeat(50_000)}${"]}".repeat(50_000)}`;
    const text = JSON.stringify(
      bpe({ vocab, merges: ["a b"], x: key === "model.x" ? "deep" : 0 }, { [key]: "deep" })["tokenizer.json"],
    );
    expect(await refusal({ "tokenizer.json": text.replaceAll('"deep"', deep) })).toBe(
      `${unread}it is nested too deeply`,
    );
    expect(await refusal({ ...fine, "tokenizer_config.json": `{"x":${deep}}` })).toBe(
      "tokenizer_config.json: it is nested too deeply",
    );
  });
  test.each([
    ["a merge without a space", { vocab, merges: ["ab"] }, 'merges.0 is "ab", and not a pair of tokens'],
    ["a merge of three", { vocab, merges: ["a b", "a b a"] }, 'merges.1 is "a b a", and not a pair of tokens'],
    ["a merge of numbers", { vocab, merges: [[0, 1]] }, "merges.0 is [0,1], and not a pair of tokens"],
    ["a merge that is null", { vocab, merges: [null] }, "merges.0 is null, and not a pair of tokens"],
    [
      "a merge of unknown tokens",
      { vocab, merges: ["b a"] },
      'merges.0 needs the token "ba", which vocab does not have',
    ],
    ["merges that are no list", { vocab, merges: { a: "b" } }, "its merges are not a list"],
    ["no merges", { vocab }, "its merges are not a list"],
    [
      "a negative id",
      { vocab: { a: -1 }, merges: [] },
      `the id of "a" is -1: ids are whole numbers from 0 to ${MOST_TOKENS - 1}`,
    ],
    [
      "half an id",
      { vocab: { a: 0.5 }, merges: [] },
      `the id of "a" is 0.5: ids are whole numbers from 0 to ${MOST_TOKENS - 1}`,
    ],
    [
      "an id that is text",
      { vocab: { a: "0" }, merges: [] },
      `the id of "a" is "0": ids are whole numbers from 0 to ${MOST_TOKENS - 1}`,
    ],
    ["one id for two", { vocab: { a: 0, b: 1, c: 1 }, merges: [] }, '"b" and "c" have the same id, 1'],
    [
      "a flag that is none",
      { vocab, merges: [], byte_fallback: 1 },
      "model.byte_fallback: expected boolean, received number",
    ],
  ])("with %s", async (_name, model, message) => {
    expect(await refusal(bpe(model))).toBe(unread + message);
  });
  test.each([
    [
      "an added token without a text",
      { added_tokens: [{ id: 3 }] },
      "added_tokens.0.content: expected string, received undefined",
    ],
    [
      "a negative added id",
      { added_tokens: [{ id: -3, content: "x" }] },
      "added_tokens.0.id: Too small: expected number to be >=0",
    ],
    [
      "another token's id",
      { added_tokens: [{ id: 1, content: "x" }] },
      'the id 1 of the added token "x" is another token\'s',
    ],
    ["two ids for a token", { added_tokens: [{ id: 3, content: "b" }] }, 'the added token "b" has the ids 1 and 3'],
    ["added tokens that are no list", { added_tokens: {} }, "added_tokens: expected array, received object"],
    ["a part that is none", { pre_tokenizer: "ByteLevel" }, "pre_tokenizer: expected object, received string"],
    [
      "a part in a part that is none",
      { normalizer: { type: "Sequence", normalizers: [null] } },
      "normalizer.normalizers.0: expected object, received null",
    ],
    [
      "pieces of no length",
      { pre_tokenizer: { type: "FixedLength", length: 0 } },
      "pre_tokenizer.length: Too small: expected number to be >=1",
    ],
    [
      "a split that is not read",
      { pre_tokenizer: { type: "Split", pattern: { String: "x" }, behavior: "Contiguous", invert: true } },
      'text that is split with the behavior "Contiguous" cannot be read',
    ],
    [
      "a split without a pattern",
      { pre_tokenizer: { type: "Split", behavior: "Isolated" } },
      "a Split without a pattern cannot be read",
    ],
    [
      "a replacement of nothing",
      { normalizer: { type: "Sequence", normalizers: [{ type: "Replace", content: "x" }] } },
      "a Replace without a pattern cannot be read",
    ],
    [
      "a pattern that is none",
      { pre_tokenizer: { type: "Split", pattern: { Regex: "(" }, behavior: "Isolated" } },
      "Invalid regular expression: missing )",
    ],
  ])("with %s", async (_name, parts, message) => {
    expect(await refusal(bpe({ vocab, merges: ["a b"] }, parts))).toBe(unread + message);
  });
  test("with an id that nothing could have room for, at once", async () => {
    const began = performance.now();
    expect(await refusal(bpe({ vocab: { a: 0, b: 2 ** 31 }, merges: [] }))).toContain('the id of "b" is 2147483648');
    expect(await refusal(bpe({ vocab, merges: [] }, { added_tokens: [{ id: 2 ** 31, content: "x" }] }))).toContain(
      "added_tokens.0.id",
    );
    expect(performance.now() - began).toBeLessThan(2000);
  });
  test("of WordPiece without a token for words that it has no pieces for", async () => {
    const model = { type: "WordPiece", continuing_subword_prefix: "##", max_input_chars_per_word: 100, vocab };
    expect(await refusal({ "tokenizer.json": { model } })).toBe(
      `${unread}its model is a WordPiece without an unk_token, which stands for words that it has no pieces for`,
    );
  });
  test("of Unigram with pieces that have no score, or an unknown one that is not there", async () => {
    const of = (model: object) => refusal({ "tokenizer.json": { model: { type: "Unigram", ...model } } });
    expect(await of({ vocab: [["a", -1], ["b"]] })).toBe(`${unread}vocab.1 is ["b"], and not a token and its score`);
    expect(await of({ vocab: [["a", -1]], unk_id: 1 })).toBe(`${unread}its unk_id is 1, and the vocab has 1 tokens`);
    expect(await of({ vocab: { a: 0 } })).toBe(`${unread}its vocab is not a list of tokens and their scores`);
  });
});

describe("files beside it are refused", () => {
  test.each([
    ["a merge that is none", older(vocab, "#version: 0.2\na b\nab\n"), 'merges.txt:3: "ab" is not a pair of tokens'],
    ["a vocabulary that is a list", older(["a"]), "vocab.json is not valid JSON: expected an object"],
    [
      "one id for two",
      older({ a: 0, b: 0, ab: 1 }),
      'vocab.json is not a tokenizer that can be read: "a" and "b" have the same id, 0',
    ],
    [
      "a negative id",
      older({ ...vocab, c: -4 }),
      `vocab.json is not a tokenizer that can be read: the id of "c" is -4: ids are whole numbers from 0 to ${MOST_TOKENS - 1}`,
    ],
    [
      "an added id that is text",
      older(vocab, "a b", { "added_tokens.json": { x: "3" } }),
      "added_tokens.json: x: expected number, received string",
    ],
    [
      "a special token that is a number",
      older(vocab, "a b", { "special_tokens_map.json": { eos_token: 3 } }),
      "special_tokens_map.json: eos_token: Invalid input",
    ],
    [
      "a template that is null in a list",
      { ...fine, "tokenizer_config.json": { chat_template: [null] } },
      "tokenizer_config.json: chat_template: Invalid input",
    ],
    [
      "settings that are a list",
      { ...fine, "tokenizer_config.json": [] },
      "tokenizer_config.json: expected object, received array",
    ],
  ])("%s", async (_name, files, message) => {
    expect(await refusal(files)).toBe(message);
  });
});

test("what is whole is read, and has room for ids that stand far apart", () => {
  const { added_tokens: _, ...file } = trainBpe([], { size: 257 }).tokenizer;
  const tokenizer = tokenizerFrom({
    tokenizer: { ...file, added_tokens: [{ id: 70_000, content: "<far>" }] },
    config: {},
  });
  expect(tokenizer.size).toBe(70_001);
  expect(tokenizer.decode(tokenizer.encode("a<far>b"))).toBe("a<far>b");
  expect(tokenizer.decode([...tokenizer.encode("a"), 60_000, ...tokenizer.encode("b")])).toBe("ab");
});

test("whatever is put into a tokenizer's files, they are read or refused in a sentence", () => {
  const whole = golden.cases.filter(({ file }) => file.model).map(({ file }) => file);
  const odd = fc.oneof(
    fc.jsonValue({ maxDepth: 2 }),
    fc.constantFrom(...[null, -1, 0.5, 2 ** 31, "", "\ud800", "(", [], {}, [[]], ["a"], [null], { type: "Sequence" }]),
  );
  /** Puts a value in the place that numbers lead to. */
  const put = (into: unknown, way: readonly number[], value: unknown): unknown => {
    if (typeof into !== "object" || into === null || way.length === 0) return value;
    const keys = Object.keys(into);
    const key = keys[way[0]! % Math.max(1, keys.length)];
    if (key === undefined) return value;
    const changed = put((into as Record<string, unknown>)[key], way.slice(1), value);
    return Array.isArray(into)
      ? into.map((old, i) => (String(i) === key ? changed : old))
      : { ...into, [key]: changed };
  };
  fc.assert(
    fc.property(
      fc.constantFrom(...whole),
      fc.array(fc.nat(40), { minLength: 1, maxLength: 4 }),
      odd,
      (file, way, value) => {
        try {
          const tokenizer = tokenizerFrom({ tokenizer: put(file, way, value) as Record<string, unknown>, config: {} });
          const ids = tokenizer.encode("ab the <|end|> x\u0085", { special: true });
          expect(ids.every((id) => Number.isInteger(id) && id >= 0 && id < tokenizer.size)).toBe(true);
          tokenizer.decode(ids);
          if (tokenizer.endOfText !== null) chatTemplate(savedTemplate(tokenizer) ?? "{{ 1 }}", tokenizer);
        } catch (error) {
          if (!(error instanceof UserError)) throw error;
        }
      },
    ),
    { numRuns: 600, seed: 12 },
  );
});
