/** GPT-2's own ids, against an independent encoder: the npm package gpt-tokenizer's r50k_base. */
import { describe, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { encode } from "gpt-tokenizer/encoding/r50k_base";
import { randomAt } from "../../src/ops/random";
import { loadTokenizer, tokenizerFrom } from "../../src/text/tokenizer";
import { temporaryFolder } from "../support/folder";
import { gpt2Files } from "../support/gpt2-tokenizer";

const tokenizer = tokenizerFrom(gpt2Files());
const oracle = (text: string) => encode(text, { disallowedSpecial: new Set() });

test("has 50,257 tokens, and the ids that are published", () => {
  expect([tokenizer.size, tokenizer.endOfText]).toEqual([50257, 50256]);
  expect(tokenizer.encode("usually, he would")).toEqual([23073, 11, 339, 561]);
});

describe("text of every kind has the same ids", () => {
  test.each([
    ["contractions", "I'm sure they'll say it's we've you'd don't I'M THEY'LL 's 't'd"],
    ["white space", "a  b   c\t\td\n\n\ne \n f\r\n  g   "],
    ["numbers", "1 12 123 1234 3.14159 1,000,000 ½ ² Ⅷ ٣"],
    ["accents", "Größe naïve façade Ærøskøbing señor Čeština Łódź"],
    ["Greek, Cyrillic, Hebrew, Arabic", "Καλημέρα κόσμε Привет мир שלום עולם مرحبا بالعالم"],
    ["Indic and Thai", "नमस्ते दुनिया வணக்கம் สวัสดีชาวโลก"],
    ["Chinese, Japanese, Korean", "你好,世界。こんにちは世界 カタカナ 안녕하세요 세계"],
    ["emoji", "😀👍🏽👩‍👩‍👧‍👦🇩🇪❤️‍🔥 #️⃣"],
    ["code", "for (let i = 0; i < n; i++) {\n\treturn x[i] ?? null; // ok\n}\n"],
    ["combining and invisible", "e\u0301 a\u200bb\u00a0c\u2003d\ufeff\u202e \u0000\u0007"],
    ["surrogates of rare scripts", "𝕳𝖊𝖑𝖑𝖔 𐍈 𓀀 🜁"],
    ["nothing", ""],
  ])("%s", (_name, text) => {
    const ids = tokenizer.encode(text);
    expect(ids).toEqual(oracle(text));
    expect(tokenizer.decode(ids)).toBe(text);
  });
  test("the bundled tales", async () => {
    const text = (await Bun.file("data/tales.txt").text()).slice(0, 200_000);
    expect(tokenizer.encode(text)).toEqual(oracle(text));
  });
});

test("a special token in text is plain text, unless it is asked for", () => {
  const text = "one<|endoftext|>two";
  expect(tokenizer.encode(text)).toEqual(oracle(text));
  expect(tokenizer.encode(text)).not.toContain(50256);
  expect(tokenizer.encode(text, { special: true })).toEqual([...oracle("one"), 50256, ...oracle("two")]);
});

test("vocab.json and merges.txt give the same tokenizer", async () => {
  using folder = temporaryFolder();
  const { vocab, merges } = tokenizer.files.tokenizer.model as { vocab: object; merges: string[] };
  writeFileSync(join(folder.path, "vocab.json"), JSON.stringify(vocab));
  writeFileSync(join(folder.path, "merges.txt"), `#version: 0.2\n${merges.join("\n")}\n`);
  const older = await loadTokenizer(folder.path);
  const text = "I'm sure they'll say it's 123 Größe 😀\n";
  expect([older.size, older.endOfText, older.encode(text)]).toEqual([50257, 50256, oracle(text)]);
});

/** Ranges that random characters are taken from. */
const ranges = [
  [0x20, 0x7e],
  [0x20, 0x7e],
  [0x09, 0x0d],
  [0xa0, 0x24f],
  [0x370, 0x5ff],
  [0x900, 0xdff],
  [0x2000, 0x206f],
  [0x2600, 0x27bf],
  [0x4e00, 0x9fff],
  [0x1f300, 0x1f64f],
] as const;

test("100,000 random strings have the same ids", () => {
  let drawn = 0;
  const draw = (below: number) => Math.floor(randomAt(42, 3, drawn++) * below);
  for (let i = 0; i < 100_000; i++) {
    const text = Array.from({ length: 1 + draw(12) }, () => {
      const [first, last] = ranges[draw(ranges.length)]!;
      return String.fromCodePoint(first + draw(last - first + 1));
    }).join("");
    const [got, wanted] = [tokenizer.encode(text), oracle(text)];
    if (got.join() !== wanted.join()) expect([text, got]).toEqual([text, wanted]);
  }
}, 60_000);
