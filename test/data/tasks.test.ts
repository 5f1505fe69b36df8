/** The tasks whose answers a rule can judge: what their files hold. */
import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { taskFiles } from "../../scripts/tasks/files";
import { linesOf } from "../../scripts/tasks/lines";

const files = taskFiles();

type Row = Readonly<Record<string, string>>;
const rows = (name: string) => files[`data/${name}.jsonl`] as readonly Row[];

test("the files are what the generator makes again", () => {
  for (const [path, records] of Object.entries(files)) {
    expect([path, readFileSync(path, "utf8") === linesOf(records)]).toEqual([path, true]);
  }
});

describe("sums", () => {
  const parts = [rows("sums"), rows("sums-test"), rows("sums-prompts")];
  test("are each of the ten thousand once, in one file", () => {
    expect(parts.map((part) => part.length)).toEqual([300, 500, 9200]);
    expect(new Set(parts.flat().map(({ prompt }) => prompt)).size).toBe(10_000);
  });
  test("are right, their digits reversed", () => {
    const known = new Map(parts.flat().map(({ prompt, completion, answer }) => [prompt!, completion ?? answer]));
    for (const [prompt, answer] of known) {
      const [, a, b] = prompt.match(/^(\d\d)\+(\d\d)=$/)!;
      const backwards = [...String(Number(a) + Number(b))].reverse().join("");
      expect([prompt, answer]).toEqual([prompt, backwards]);
    }
    expect(["52+60=", "03+04=", "07+45=", "45+45="].map((sum) => known.get(sum))).toEqual(["211", "7", "25", "09"]);
  });
  test("have an answer to learn only where they are labelled", () => {
    expect(parts.map(([first]) => Object.keys(first!))).toEqual([
      ["prompt", "completion"],
      ["prompt", "completion"],
      ["prompt", "answer"],
    ]);
  });
});
