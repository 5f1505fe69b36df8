/** Tokenizer files read as Hugging Face's own implementation reads them: golden ids, and its table of white space. */
import { describe, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { cutAtSpaces } from "../../src/data/encode";
import { splitPattern } from "../../src/text/bytes";
import { loadTokenizer, tokenizerFrom, writeTokenizer } from "../../src/text/tokenizer";
import golden from "../golden/tokenizer_files.json";
import { temporaryFolder } from "../support/folder";

const bytes = golden.cases[0]!.file.model;

describe("ids and text are those of Hugging Face's tokenizers:", () => {
  test.each(golden.cases.map((given) => [given.name, given] as const))("%s", (_name, { file, texts }) => {
    const tokenizer = tokenizerFrom({ tokenizer: { ...file, model: file.model ?? bytes }, config: {} });
    for (const { text, special, plain, decoded } of texts) {
      expect({ text, ids: tokenizer.encode(text, { special: true }) }).toEqual({ text, ids: special });
      expect({ text, ids: tokenizer.encode(text) }).toEqual({ text, ids: plain });
      if (decoded === null) continue;
      expect(tokenizer.decode(special)).toBe(decoded);
      const stream = tokenizer.stream();
      expect(special.map((id) => stream.push(id)).join("") + stream.end()).toBe(decoded);
    }
  });
});

describe("what was there before tokenizer.json is read as transformers reads it:", () => {
  test.each(golden.folders.map((given) => [given.name, given] as const))("%s", async (_name, { files, texts, end }) => {
    using folder = temporaryFolder();
    for (const [name, content] of Object.entries(files))
      writeFileSync(join(folder.path, name), typeof content === "string" ? content : JSON.stringify(content));
    const tokenizer = await loadTokenizer(folder.path);
    expect(tokenizer.endOfText).toBe(end);
    for (const { text, ids } of texts)
      expect({ text, ids: tokenizer.encode(text, { special: true }) }).toEqual({ text, ids });
    // Written as one file it is the same.
    await writeTokenizer(folder.path, tokenizer.files);
    const again = await loadTokenizer(folder.path);
    for (const { text, ids } of texts) expect(again.encode(text, { special: true })).toEqual(ids);
    expect(again.endOfText).toBe(end);
  });
});

/** Ranges of the code points below `end` of which something holds. */
function rangesWhere(end: number, holds: (character: string) => boolean): number[][] {
  const found: number[][] = [];
  for (let code = 0; code < end; code++) {
    if ((code >= 0xd800 && code <= 0xdfff) || !holds(String.fromCodePoint(code))) continue;
    const last = found.at(-1);
    if (last?.[1] === code - 1) last[1] = code;
    else found.push([code, code]);
  }
  return found;
}

describe("white space is what it is there, code point by code point,", () => {
  const whiteSpace = golden.classes["\\s"];
  test("where GPT-2 splits text", () => {
    // White space joins a space behind it, and nothing else does.
    const joins = (character: string) => `${character} `.match(splitPattern)?.length === 1;
    expect(rangesWhere(0x110000, joins)).toEqual(whiteSpace);
  });
  test("where words are split, and beside added tokens", () => {
    const vocab = { "?": 0, x: 1 };
    const file = {
      pre_tokenizer: { type: "WhitespaceSplit" },
      model: { type: "WordLevel", vocab, unk_token: "?" },
      added_tokens: [{ id: 2, content: "<r>", rstrip: true, lstrip: true }],
    };
    const tokenizer = tokenizerFrom({ tokenizer: file, config: {} });
    expect(rangesWhere(0x10000, (character) => tokenizer.encode(`x${character}x`).length === 2)).toEqual(whiteSpace);
    const alone = (text: string) => tokenizer.encode(text).length === 1;
    expect(rangesWhere(0x10000, (character) => alone(`${character}<r>${character}`))).toEqual(whiteSpace);
  });
  test("where a corpus is cut for threads", () => {
    expect(rangesWhere(0x10000, (character) => cutAtSpaces(`a${character}b`, 1)[0] === "a")).toEqual(whiteSpace);
  });
});
