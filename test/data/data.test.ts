/** Text for pretraining: the corpus as tokens, its windows, and the tales that the program brings along. */
import { describe, expect, test } from "bun:test";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { tale } from "../../scripts/tales/tales";
import { diceOf, people, personNamed } from "../../scripts/tales/world";
import { evenWindows, expectWindow, randomWindows, splitOff, windowOf } from "../../src/data/batches";
import { asDocuments, readText, tokensIn, tokensOf } from "../../src/data/corpus";
import { trainCharacters } from "../../src/text/characters";
import { tokenizerFrom } from "../../src/text/tokenizer";
import { temporaryFolder } from "../support/folder";

describe("a corpus", () => {
  test("is tokenised once and then read from the cache", async () => {
    using folder = temporaryFolder();
    const path = join(folder.path, "text.txt");
    const cacheDirectory = join(folder.path, "cache");
    writeFileSync(path, "abcabc");
    const tokenizer = tokenizerFrom(trainCharacters(["abc"]));
    let calls = 0;
    const encode = (text: string) => {
      calls++;
      return tokenizer.encode(text);
    };
    const counting = { ...tokenizer, encode };
    const first = [...(await tokensOf(path, { tokenizer: counting, cacheDirectory }))];
    const second = [...(await tokensOf(path, { tokenizer: counting, cacheDirectory }))];
    expect(first).toEqual([0, 1, 2, 0, 1, 2]);
    expect(second).toEqual(first);
    expect(calls).toBe(1);
    writeFileSync(path, "abcabcc");
    expect((await tokensOf(path, { tokenizer: counting, cacheDirectory })).length).toBe(7);
    expect(readdirSync(cacheDirectory).length).toBe(2);
  });
  test("is another's tokens with another tokenizer", async () => {
    using folder = temporaryFolder();
    for (const [letters, ids] of [
      ["abc", [0, 1]],
      ["-abc", [1, 2]],
    ] as const) {
      const tokenizer = tokenizerFrom(trainCharacters([letters]));
      expect([...(await tokensIn("ab", { tokenizer, cacheDirectory: folder.path }))]).toEqual([...ids]);
    }
  });
  test("has ids of two bytes as far as they fit", async () => {
    using folder = temporaryFolder();
    for (const [size, bytes] of [
      [2 ** 16, 2],
      [2 ** 16 + 1, 4],
    ] as const) {
      const vocab = Object.fromEntries(Array.from({ length: size }, (_, i) => [`w${i}`, i]));
      const model = { type: "WordLevel", vocab, unk_token: "w0" };
      const tokenizer = tokenizerFrom({ tokenizer: { model, pre_tokenizer: { type: "WhitespaceSplit" } }, config: {} });
      const ids = await tokensIn(`w1 w${size - 1}`, { tokenizer, cacheDirectory: folder.path });
      expect([...ids]).toEqual([1, size - 1]);
      expect(ids.BYTES_PER_ELEMENT).toBe(bytes);
    }
  });
  test.each([
    ["missing", null, /there is no such file/],
    ["empty", new Uint8Array(0), /is empty/],
    ["only a byte-order mark", Uint8Array.of(0xef, 0xbb, 0xbf), /is empty$/],
    ["only blanks", Buffer.from("\ufeff \r\n\t\n"), /is empty$/],
    ["with a NUL", Buffer.from("a\nb\0c"), /is not text in UTF-8: it holds a NUL character, the first in line 2$/],
    ["not UTF-8", Uint8Array.of(0x61, 0xff, 0xfe), /is not text in UTF-8: it holds bytes that are not UTF-8$/],
    [
      "UTF-16",
      Buffer.from("\ufeffab", "utf16le"),
      /is not text in UTF-8: it begins with the byte-order mark of UTF-16$/,
    ],
    ["UTF-32", Uint8Array.of(0xff, 0xfe, 0, 0, 97, 0, 0, 0), /it begins with the byte-order mark of UTF-32$/],
    ["Parquet", Buffer.from("PAR1..PAR1"), /is a Parquet table, and no text$/],
  ])("that is %s is refused with one sentence", async (_name, bytes, message) => {
    using folder = temporaryFolder();
    const path = join(folder.path, "text.txt");
    if (bytes) writeFileSync(path, bytes);
    await expect(readText(path)).rejects.toThrow(message);
  });
  test("that is a folder is refused", async () => {
    using folder = temporaryFolder();
    await expect(readText(folder.path)).rejects.toThrow(/cannot be read: it is a folder$/);
  });
  test("has no mark in its text, and may be gzipped", async () => {
    using folder = temporaryFolder();
    const path = join(folder.path, "text");
    writeFileSync(path, "\ufeffa\r\nb");
    expect(await readText(path)).toBe("a\r\nb");
    writeFileSync(path, gzipSync("\ufeffa\r\nb"));
    expect(await readText(path)).toBe("a\r\nb");
  });
});

describe("a file of the token cache", () => {
  const text = "abcabcabca";
  const tokenizer = tokenizerFrom(trainCharacters(["abc"]));
  const wide = { ...tokenizer, size: 70_000 };
  test.each([
    ["cut between tokens", (bytes: Buffer) => bytes.subarray(0, -4)],
    ["cut to its beginning", (bytes: Buffer) => bytes.subarray(0, 12)],
    ["one byte short", (bytes: Buffer) => bytes.subarray(0, -1)],
    ["one byte longer", (bytes: Buffer) => Buffer.concat([bytes, Buffer.alloc(1)])],
    ["empty", () => Buffer.alloc(0)],
    ["with ids beyond the vocabulary", (bytes: Buffer) => Buffer.from(bytes).fill(0xff, 0, 4)],
    [
      "with two tokens exchanged",
      (bytes: Buffer) => Buffer.concat([bytes.subarray(4, 8), bytes.subarray(0, 4), bytes.subarray(8)]),
    ],
  ])("that is %s is made again, and that is said", async (_name, damaged) => {
    for (const each of [tokenizer, wide]) {
      using folder = temporaryFolder();
      const notes: string[] = [];
      const options = { tokenizer: each, cacheDirectory: folder.path, onNote: (line: string) => notes.push(line) };
      const ids = [...(await tokensIn(text, options))];
      expect(ids).toEqual(tokenizer.encode(text));
      const [name] = readdirSync(folder.path);
      const path = join(folder.path, name!);
      const whole = readFileSync(path);
      writeFileSync(path, damaged(whole));
      expect([...(await tokensIn(text, options))]).toEqual(ids);
      expect(notes).toEqual([`the token cache ${path} is damaged, and is made again`]);
      expect([readdirSync(folder.path), readFileSync(path)]).toEqual([[name!], whole]);
      await tokensIn(text, options);
      expect(notes).toHaveLength(1);
    }
  });
});

describe("several files", () => {
  const tokenizer = tokenizerFrom(trainCharacters(["abc\n"]));
  const end = tokenizer.endOfText!;
  const ids = (text: string) => Uint16Array.from(tokenizer.encode(text, { special: true }));
  const together = (...texts: string[]) => [...asDocuments(texts.map(ids), tokenizer)];
  test("are documents of their own, with one end token between", () => {
    expect(together("ab", "c", "a")).toEqual([...ids("ab"), end, ...ids("c"), end, ...ids("a")]);
    expect(together("ab<|endoftext|>", "c")).toEqual([...ids("ab"), end, ...ids("c")]);
    expect(together("ab<|endoftext|>\n", "c")).toEqual([...ids("ab"), end, ...ids("\nc")]);
    expect(together("a<|endoftext|>b", "c")).toEqual([...ids("a"), end, ...ids("b"), end, ...ids("c")]);
    expect(together("ab")).toEqual([...ids("ab")]);
  });
  test("follow one another where the tokenizer has no end token", () => {
    expect([...asDocuments([ids("ab"), ids("c")], { ...tokenizer, endOfText: null })]).toEqual([...ids("abc")]);
  });
});

describe("batches", () => {
  const tokens = Uint16Array.from({ length: 1000 }, (_, i) => i);
  const shape = { rows: 4, tokens: 10 };
  test("are a function of (seed, index)", () => {
    const [a, b, c] = [windowOf(shape), windowOf(shape), windowOf(shape)];
    randomWindows(tokens, shape, { seed: 1, index: 5, into: a });
    randomWindows(tokens, shape, { seed: 1, index: 5, into: b });
    randomWindows(tokens, shape, { seed: 1, index: 6, into: c });
    expect(a).toEqual(b);
    expect(a).not.toEqual(c);
  });
  test("are others with another seed, and every row is a draw of its own", () => {
    const starts = (seed: number, index: number) => {
      const into = windowOf(shape);
      randomWindows(tokens, shape, { seed, index, into });
      return Array.from({ length: shape.rows }, (_, row) => into.tokens[row * shape.tokens]!);
    };
    expect(starts(1, 5)).not.toEqual(starts(2, 5));
    const all = Array.from({ length: 8 }, (_, index) => starts(1, index)).flat();
    // 32 draws among 990 places: a few may meet, neighbours of a batch never come again.
    expect(new Set(all).size).toBeGreaterThan(27);
  });
  test("have the next token as the target", () => {
    const into = windowOf(shape);
    for (let index = 0; index < 50; index++) {
      randomWindows(tokens, shape, { seed: 9, index, into });
      into.tokens.forEach((id, i) => {
        expect(into.targets[i]).toBe(id + 1);
      });
    }
  });
  test("reach every place", () => {
    const small = tokens.subarray(0, 14);
    const starts = new Set<number>();
    const into = windowOf(shape);
    for (let index = 0; index < 100; index++) {
      randomWindows(small, shape, { seed: 2, index, into });
      for (let row = 0; row < 4; row++) starts.add(into.tokens[row * 10]!);
    }
    expect([...starts].sort()).toEqual([0, 1, 2, 3]);
  });
  test("for evaluation are spread evenly and stay inside", () => {
    const into = windowOf(shape);
    const starts: number[] = [];
    for (let index = 0; index < 5; index++) {
      evenWindows(tokens, shape, { index, count: 5, into });
      for (let row = 0; row < 4; row++) starts.push(into.tokens[row * 10]!);
    }
    expect(starts).toEqual(starts.toSorted((a, b) => a - b));
    expect(starts[1]! - starts[0]!).toBe(49);
    expect(starts.at(-1)!).toBeLessThan(990);
  });
  test("need a row and its next token", () => {
    expect(() => expectWindow(tokens.subarray(0, 10), 10, "the corpus")).toThrow(
      "the corpus has 10 tokens, fewer than one row of 10",
    );
    expectWindow(tokens.subarray(0, 11), 10, "the corpus");
  });
  test("come from a split without overlap", () => {
    const { train, validation } = splitOff(tokens, 0.1);
    expect([train.length, validation.length, validation[0]]).toEqual([900, 100, 900]);
  });
});

describe("the tales", () => {
  const text = Array.from(
    { length: 300 },
    (
      (dice) => () =>
        tale(dice)
    )(diceOf(5)),
  ).join("");
  test("are a function of the seed", () => {
    expect(
      Array.from(
        { length: 300 },
        (
          (dice) => () =>
            tale(dice)
        )(diceOf(5)),
      ).join(""),
    ).toBe(text);
  });
  test("state only facts of the world", () => {
    for (const [, name, home] of text.matchAll(/([A-Z]\w+) was an? \w+ and lived by the (\w+)\./g))
      expect(personNamed(name!).home).toBe(home!);
    for (const [, name, fear] of text.matchAll(/but (\w+) was afraid of ([\w ]+)\./g))
      expect(personNamed(name!).fear).toBe(fear!);
    for (const { friend, name } of people) expect(personNamed(friend).friend).toBe(name);
  });
  test("in data/tales.txt are what the generator writes", async () => {
    const file = await Bun.file("data/tales.txt").text();
    const dice = diceOf(2026);
    expect(file.startsWith(`${tale(dice)}<|endoftext|>\n${tale(dice)}`)).toBe(true);
    expect(file.length).toBeGreaterThan(2 ** 20);
  });
  test("of data/tales-test.txt are in no other file", async () => {
    const read = async (name: string) => (await Bun.file(name).text()).split("<|endoftext|>\n");
    const learned = new Set(await read("data/tales.txt"));
    const held = await read("data/tales-test.txt");
    expect(held).toHaveLength(100);
    expect(held.filter((one) => learned.has(one))).toEqual([]);
  });
});
