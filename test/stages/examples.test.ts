/** The examples of a stage: what its log says of the records, and what its settings do to them. */
import { expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import type { Context } from "../../src/stages/context";
import { readExamples, records } from "../../src/stages/examples";
import { trainBpe } from "../../src/text/bpe";
import { tokenizerFrom } from "../../src/text/tokenizer";
import { silent } from "../support/console";
import { temporaryFolder } from "../support/folder";

const tokenizer = tokenizerFrom(trainBpe([], { size: 257 }));

/** `files`: the records of each. The last is the validation's. */
async function examples(files: readonly (readonly object[])[], settings: object = {}) {
  using folder = temporaryFolder();
  const paths = files.map((lines, i) => {
    const path = join(folder.path, `${i}.jsonl`);
    writeFileSync(path, lines.map((line) => `${JSON.stringify(line)}\n`).join(""));
    return path;
  });
  const config = z.object(records).parse({ data: paths.slice(0, -1), validation: paths.at(-1), ...settings });
  const context = { tokenizer, console: silent, find: async (path: string) => path, seed: 1 } as unknown as Context;
  const { train, held, lines } = await readExamples(config, context, 24);
  return { train, held, lines: lines.map((line) => line.replaceAll(`${folder.path}/`, "")) };
}

const user = { role: "user", content: "a" };
const short = { messages: [user, { role: "assistant", content: "b" }] };
const long = { messages: [user, { role: "assistant", content: "b c d e f g h" }], id: 7 };
const calling = { messages: [user, { role: "assistant", content: "b", tool_calls: [{ name: "x" }] }] };

test("the log counts what is not read and what is left open, file by file", async () => {
  const { lines } = await examples([[short, calling, long, calling], [long], [calling]]);
  expect(lines).toEqual([
    "0.jsonl (messages): 4 records read, 4 examples, 1 cut by 9 tokens in all, 1 answers left open",
    "  not read: tool_calls of a turn (in 2, first 0.jsonl:2); id (in 1, first 0.jsonl:3)",
    "1.jsonl (messages): 1 records read, 1 examples, 1 cut by 9 tokens in all, 1 answers left open",
    "  not read: id (in 1, first 1.jsonl:1)",
    "in all: 5 records read, 5 examples, 2 cut by 18 tokens in all, 2 answers left open",
    "2.jsonl: 1 records read, 1 examples",
    "  not read: tool_calls of a turn (in 1, first 2.jsonl:1)",
  ]);
});

test("a cut answer has no end token, or has one where that is wanted", async () => {
  const files = [[short, long], [long]];
  const last = async (settings: object) => {
    const { train, held } = await examples(files, settings);
    return [train[1]!, held[0]!].map(({ ids, trained }) => [
      ids.length,
      trained.at(-1),
      ids.at(-1) === tokenizer.endOfText,
    ]);
  };
  expect(await last({})).toEqual([
    [24, 1, false],
    [24, 1, false],
  ]);
  expect(await last({ cut: "ended" })).toEqual([
    [24, 1, true],
    [24, 1, true],
  ]);
});
