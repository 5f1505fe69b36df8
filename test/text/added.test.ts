/** Where added tokens stand in a text: the longest, whole words, and nothing inside of what is passed over. */
import { describe, expect, test } from "bun:test";
import { splitter } from "../../src/text/added";
import { tokenizerFrom } from "../../src/text/tokenizer";

const plain = { special: false, single_word: false, lstrip: false, rstrip: false, normalized: false };
const token = (id: number, content: string, more: object = {}) => ({ ...plain, id, content, ...more });

test("a special token that is not asked for is plain text, with all that is inside it", () => {
  const split = splitter([token(1, "<end>", { special: true }), token(2, "end")]);
  expect(split("<end> end", false)).toEqual(["<end> ", 2]);
  expect(split("<end> end", true)).toEqual([1, " ", 2]);
});

describe("a single word", () => {
  const split = splitter([token(1, "ab", { single_word: true })]);
  // U+1D41A is a letter, of two UTF-16 units; U+1F600 is none.
  test.each([
    ["ab", true],
    ["xab", false],
    ["xab ", false],
    ["abx", false],
    ["\u{1d41a}ab", false],
    ["ab\u{1d41a}", false],
    ["\u{1f600}ab\u{1f600}", true],
    ["-ab-", true],
  ])("in %p: %p", (text, found) => {
    expect(split(text, false).includes(1)).toBe(found);
  });
});

test("tokens begin with any letter, also one that means something in an expression", () => {
  const letters = ["]", "^", "-", "\\", "[", ".", "$", "a", "z"];
  for (const letter of letters) {
    const split = splitter([token(1, letter)]);
    for (const other of [...letters, "m"]) expect(split(other, false)).toEqual(other === letter ? [1] : [other]);
  }
  const split = splitter(letters.map((letter, id) => token(id, letter)));
  expect(split(letters.join(""), false)).toEqual(letters.map((_, id) => id));
  expect(split("m_", false)).toEqual(["m_"]);
});

test("the letters of a special token are letters in plain text, also where the model's vocabulary has it", () => {
  const vocab = ["<unk>", "<s>", "<", "s", ">"].map((piece) => [piece, -1]);
  const tokenizer = tokenizerFrom({
    tokenizer: {
      model: { type: "Unigram", vocab, unk_id: 0 },
      added_tokens: [token(1, "<s>", { special: true })],
    },
    config: {},
  });
  expect(tokenizer.encode("<s>s")).toEqual([2, 3, 4, 3]);
  expect(tokenizer.encode("<s>s", { special: true })).toEqual([1, 3]);
});
