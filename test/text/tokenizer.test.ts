/** Tokenizers: what they read and write, and what is wrong with their files. */
import { describe, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { cutAtSpaces, encodeChunks } from "../../src/data/encode";
import { trainBpe } from "../../src/text/bpe";
import { trainCharacters } from "../../src/text/characters";
import { END_OF_TEXT } from "../../src/text/files";
import { loadTokenizer, tokenizerFrom, writeTokenizer } from "../../src/text/tokenizer";
import { trainWords, wordsOf } from "../../src/text/words";
import { temporaryFolder } from "../support/folder";

const tales = await Bun.file("data/tales.txt").text();
const bpe = tokenizerFrom(trainBpe([tales], { size: 400 }));
const anyText = fc.string({ unit: "grapheme", maxLength: 60 }).filter((text) => !text.includes(END_OF_TEXT));

describe("byte-level BPE", () => {
  test("learns the merges of the textbook example in order of frequency", () => {
    // low x5, lower x2, newest x6, widest x3: https://arxiv.org/abs/1508.07909, section 3.2, on GPT-2's split.
    const text = `${"low ".repeat(5)}${"lower ".repeat(2)}${"newest ".repeat(6)}${"widest ".repeat(3)}`;
    const { merges } = trainBpe([text], { size: 257 + 4 }).tokenizer.model as { merges: string[] };
    expect(merges.slice(0, 3)).toEqual(["e s", "es t", "l o"]);
  });
  test("has the size asked for and knows its end of text", () => {
    expect(bpe.size).toBe(400);
    expect(bpe.endOfText).toBe(399);
    expect(bpe.encode(`a${END_OF_TEXT}b`, { special: true })[1]).toBe(399);
  });
  test("stops early where nothing occurs twice", () => {
    expect(tokenizerFrom(trainBpe(["abc"], { size: 1000 })).size).toBe(257);
  });
  test("gives back any text", () => {
    fc.assert(
      fc.property(anyText, (text) => expect(bpe.decode(bpe.encode(text))).toBe(text)),
      { numRuns: 300, seed: 3 },
    );
  });
  test("compresses the text it was trained on", () => {
    expect(bpe.encode(tales.slice(0, 20000)).length).toBeLessThan(20000 / 2);
  });
  test("refuses a vocabulary smaller than the bytes", () => {
    expect(() => trainBpe(["abc"], { size: 200 })).toThrow("at least 257 tokens");
  });
});

describe("characters", () => {
  const characters = tokenizerFrom(trainCharacters(["hello\nwörld 😀"]));
  test("are tokens in code point order", () => {
    expect(characters.encode("\nh")).toEqual([0, 4]);
    expect(characters.decode(characters.encode("wörld 😀\nhello"))).toBe("wörld 😀\nhello");
  });
  test("that were never seen are refused by name", () => {
    expect(() => characters.encode("hexe")).toThrow('no token for "x"');
  });
});

describe("words", () => {
  const files = trainWords(["The cat sat. The cat, it's said, sat \u201cthere\u201d \u2014 3.5 times\u2026"], {
    size: 12,
  });
  const words = tokenizerFrom(files);
  test("are split off cleaned text", () => {
    expect(wordsOf("It\u2019s \u201cwell-known\u201d \u2013 1,000.5 caf\u0065\u0301\u2026\r\nno")).toEqual([
      ...["It's", '"', "well-known", '"', "-", "1,000.5", "caf\u00e9", ".", ".", ".", "\n", "no"],
    ]);
  });
  test("the most frequent are kept, the others are unknown", () => {
    expect(words.size).toBe(12);
    const vocabulary = (files.tokenizer.model as { vocab: Record<string, number> }).vocab;
    expect(Object.keys(vocabulary).slice(0, 8)).toEqual(["<|unk|>", END_OF_TEXT, ".", '"', ",", "The", "cat", "sat"]);
    expect(words.encode("The dog sat.")).toEqual([5, 0, 7, 2]);
    expect(words.decode(words.encode("The dog sat."))).toBe("The <|unk|> sat.");
  });
  test("an end of text is one only where it is asked for", () => {
    expect(words.encode(`cat${END_OF_TEXT}cat`, { special: true })).toEqual([6, 1, 6]);
    expect(words.encode(`cat${END_OF_TEXT}cat`)).not.toContain(1);
  });
  test("come back with English spacing, and a prefix stays as it is", () => {
    const all = tokenizerFrom(trainWords(['"Yes," said Ann (loudly). "No!"\nHe left; 3.5 miles.'], { size: 100 }));
    const ids = all.encode('"Yes," said Ann (loudly). "No!"\nHe left; 3.5 miles.');
    expect(all.decode(ids)).toBe('"Yes," said Ann (loudly). "No!"\nHe left; 3.5 miles.');
    ids.forEach((_, i) => {
      expect(all.decode(ids).startsWith(all.decode(ids.slice(0, i)))).toBe(true);
    });
  });
  test("are written as tokenizer.json and read by the same reader; another WordLevel as it says", async () => {
    using folder = temporaryFolder();
    await writeTokenizer(folder.path, files);
    expect((await loadTokenizer(folder.path)).encode("The cat")).toEqual(words.encode("The cat"));
    const other = { ...files, tokenizer: { ...files.tokenizer, normalizer: { type: "Lowercase" } } };
    const plain = tokenizerFrom(other);
    expect(plain.encode("cat SAT, dog\u2019")).toEqual([6, 7, 4, 0, 0]);
    expect(plain.decode([6, 7, 4])).toBe("cat sat ,");
  });
});

describe("files", () => {
  test("are read back by the same reader", async () => {
    using folder = temporaryFolder();
    await writeTokenizer(folder.path, bpe.files);
    const again = await loadTokenizer(folder.path);
    expect(again.encode("By the mill lived Pip.")).toEqual(bpe.encode("By the mill lived Pip."));
    expect(again.files.tokenizer).toEqual(JSON.parse(JSON.stringify(bpe.files.tokenizer)));
  });
  test.each([
    ["nothing", null, /no tokenizer at/],
    ["a cut-off file", '{"model": {"type"', /not valid JSON/],
    ["a list", "[]", /not valid JSON: expected an object/],
    ["another kind of file", '{"a": 1}', /not a tokenizer that can be read|no vocabulary/],
  ])("%s is refused with one sentence", async (_name, text, message) => {
    using folder = temporaryFolder();
    if (text !== null) writeFileSync(join(folder.path, "tokenizer.json"), text);
    await expect(loadTokenizer(folder.path)).rejects.toThrow(message);
  });
});

describe("a word without end", () => {
  test("is learned from by its parts", () => {
    // All merges of a long word would go through all of it: 3000 times a million characters.
    const { merges } = trainBpe(["ab".repeat(500_000)], { size: 3000 }).tokenizer.model as { merges: string[] };
    expect(merges).toEqual([
      "a b",
      "ab ab",
      "abab abab",
      "abababab abababab",
      `${"ab".repeat(8)} ${"ab".repeat(8)}`,
      `${"ab".repeat(16)} ${"ab".repeat(16)}`,
    ]);
  });
  test("is encoded, or refused with its length", () => {
    expect(bpe.encode("z".repeat(20_000))).toEqual(new Array(20_000).fill(bpe.encode("z")[0]));
    expect(() => bpe.encode(`a ${"z".repeat(2 ** 20 + 1)}`)).toThrow("a single word of 1048578 characters cannot be");
  });
  test("matters not to a tokenizer of characters", () => {
    const characters = tokenizerFrom(trainCharacters(["ab"]));
    expect(characters.encode("ab".repeat(1_000_000)).length).toBe(2_000_000);
  });
});

describe("streaming", () => {
  test("holds incomplete UTF-8 back and loses nothing", () => {
    fc.assert(
      fc.property(anyText, (text) => {
        const stream = bpe.stream();
        const pieces = bpe.encode(text).map((id) => stream.push(id));
        expect(pieces.join("") + stream.end()).toBe(text);
        for (const piece of pieces) if (!text.includes("\ufffd")) expect(piece).not.toContain("\ufffd");
      }),
      { numRuns: 200, seed: 4 },
    );
  });
  test("gives a character out only with its last byte", () => {
    const stream = bpe.stream();
    const bytes = bpe.encode("é");
    expect(bytes.map((id) => stream.push(id))).toEqual(["", "é"]);
  });
});

describe("encoding in parts", () => {
  test("cuts change no token", () => {
    fc.assert(
      fc.property(
        fc.string({ unit: fc.constantFrom("a", "'s", " ", "\n", "\t", "1", "é", ".", "  ", "\n\n"), maxLength: 80 }),
        (text) => {
          const parts = cutAtSpaces(text, 5);
          expect(parts.join("")).toBe(text);
          expect(parts.flatMap((part) => bpe.encode(part))).toEqual(bpe.encode(text));
        },
      ),
      { numRuns: 500, seed: 5 },
    );
  });
  test("in worker threads gives the same tokens, with progress", async () => {
    const seen: number[] = [];
    const ids = await encodeChunks(tales, bpe, (done) => seen.push(done));
    expect([...ids]).toEqual(bpe.encode(tales, { special: true }));
    expect(seen.at(-1)).toBe(tales.length);
  });
});
