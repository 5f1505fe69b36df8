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

describe("problems with an instruction", () => {
  for (const [name, key] of [
    ["letters", ({ instruction }) => [...instruction!.replace("Sort the letters: ", "")].toSorted().join("")],
    ["counting", ({ instruction }) => instruction!.replace(/ How often .*/, "")],
  ] as [string, (row: Row) => string][]) {
    const parts = [rows(name), rows(`${name}-test`), rows(`${name}-prompts`)];
    test(`${name}: 400 to learn, 200 to measure by and 2,000 prompts, none of them alike`, () => {
      expect(parts.map((part) => part.length)).toEqual([400, 200, 2000]);
      expect(new Set(parts.flat().map(key)).size).toBe(2600);
      expect(parts.map(([first]) => Object.keys(first!)[1]!)).toEqual(["output", "output", "answer"]);
    });
  }
  const all = (name: string) =>
    [name, `${name}-test`, `${name}-prompts`].flatMap(rows).map(({ instruction, output, answer }) => ({
      instruction: instruction!,
      answer: (output ?? answer)!,
    }));
  test("letters are four to six different ones, in order in the answer", () => {
    for (const { instruction, answer } of all("letters")) {
      const letters = instruction.match(/^Sort the letters: ([a-z](?: [a-z]){3,5})$/)![1]!.split(" ");
      expect(new Set(letters).size).toBe(letters.length);
      expect(answer).toBe(letters.toSorted((a, b) => a.charCodeAt(0) - b.charCodeAt(0)).join(" "));
    }
  });
  test("a name is counted as a word, from 0 to 4, each in about a fifth", () => {
    const counts = [0, 0, 0, 0, 0];
    for (const { instruction, answer } of all("counting")) {
      const [, text, name] = instruction.match(/^(.*) How often is (\w+) named\?$/)!;
      const times = text!.split(/[^A-Za-z]+/).filter((word) => word === name).length;
      expect([instruction, answer]).toEqual([instruction, String(times)]);
      counts[times]!++;
    }
    for (const count of counts) expect(count / 2600).toBeCloseTo(0.2, 1.5);
  });
});
