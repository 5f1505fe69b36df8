/** The tasks whose answers a rule can judge: what their files hold. */
import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { length, lipogram, score, tagged } from "../../data/task-rules";
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

describe("rules", () => {
  const asking = [{ role: "user", content: "Who is Pip?" }];
  const cases: readonly [rule: typeof score, columns: object, scores: Readonly<Record<string, number>>][] = [
    [
      tagged,
      { answer: "The mill.", tag: "a" },
      {
        "<a>The mill.</a>": 1,
        " <a>The mill.</a>\n": 1,
        "<a>The cave.</a>": 0.2,
        "<a>The mill.</a><a>The mill.</a>": 0,
        "<a></a>": 0,
        "The mill.": 0,
        "Yes: <a>The mill.</a>": 0,
        "<a>The mill.": 0,
        "": 0,
      },
    ],
    [
      length,
      { words: 4 },
      {
        "Pip is a mouse.": 1,
        "Pip is - a mouse.": 1,
        "Pip is grey.": 0.75,
        "a b c d e f": 0.5,
        "a b c d e f g h i": 0,
        "": 0,
      },
    ],
    [
      lipogram,
      { name: "Pip", without: "e" },
      {
        "Pip is not a dog.": 1,
        "A pal of Bram is Pip.": 1,
        "Pip is a mouse.": 0,
        "Pip is EVIL.": 0,
        "Pip sat in a café.": 0,
        "Bram is not a dog.": 0,
        "Pipkin is not a dog.": 0,
        "Pip sat.": 0,
        Pip: 0,
        "": 0,
      },
    ],
  ];
  for (const [rule, columns, scores] of cases) {
    test(`${rule.name}, which score chooses by the columns`, () => {
      for (const judge of [rule, score]) {
        const judged = Object.keys(scores).map((answer) => [answer, judge(asking, answer, { ...columns })]);
        expect(judged).toEqual(Object.entries(scores));
        expect(judge(asking, "Pip is not a dog.", {})).toBeNull();
      }
    });
  }
});

describe("what rules judge", () => {
  const instructions = (name: string) => rows(name).map(({ instruction }) => instruction!);
  const share = (holds: readonly boolean[]) => holds.filter(Boolean).length / holds.length;
  const scored = (name: string, columns: (row: Row) => Record<string, unknown>) =>
    rows(name).map((row) => score([], row.output!, columns(row)));
  for (const [name, labelled, prompts] of [
    ["tagged", 600, 1112],
    ["lengths", 400, 464],
    ["lipogram", 208, 78],
  ] as const) {
    test(`${name}: ${labelled} to learn and ${prompts} other prompts, each of which the rule judges`, () => {
      expect([rows(name).length, rows(`${name}-prompts`).length]).toEqual([labelled, prompts]);
      const learned = new Set(instructions(name));
      const asked = instructions(`${name}-prompts`);
      expect(new Set(asked).size).toBe(prompts);
      expect(asked.filter((each) => learned.has(each))).toEqual([]);
      for (const row of rows(`${name}-prompts`)) expect(score([], "", row)).toBe(0);
    });
  }
  test("tagged are questions that are learned with their answers, three tenths in tags", () => {
    const known = new Map(
      readFileSync("data/questions.jsonl", "utf8")
        .trimEnd()
        .split("\n")
        .map((line) => {
          const { instruction, output } = JSON.parse(line) as { instruction: string; output: string };
          return [instruction, output];
        }),
    );
    const answered = [...rows("tagged"), ...rows("tagged-prompts")];
    for (const { instruction, output, answer } of answered)
      expect([instruction, (output ?? answer)!.replace(/^<a>(.*)<\/a>$/, "$1")]).toEqual([
        instruction,
        known.get(instruction!),
      ]);
    const scores = scored("tagged", ({ instruction }) => ({ answer: known.get(instruction!), tag: "a" }));
    expect(scores.filter((each) => each === 1)).toHaveLength(180);
    expect(scores.filter((each) => each === 0)).toHaveLength(420);
  });
  test("lengths are right in about a third, and never far off", () => {
    const scores = scored("lengths", ({ instruction }) => ({ words: Number(instruction!.match(/\d+/)![0]) }));
    const exact = share(scores.map((each) => each === 1));
    expect(exact).toBeGreaterThan(0.25);
    expect(exact).toBeLessThan(0.45);
    expect(Math.min(...scores.map(Number))).toBeGreaterThan(0);
    for (const { instruction, words } of rows("lengths-prompts"))
      expect(Number(instruction!.match(/\d+/)![0])).toBe(Number(words));
  });
  test("lipograms are a quarter without an e", () => {
    const named = (row: Row) => row.output!.match(/[A-Z][a-z]+/g)!.find((each) => row.instruction!.includes(each));
    const scores = scored("lipogram", (row) => ({ name: named(row), without: "e" }));
    expect(share(scores.map((each) => each === 1))).toBe(0.25);
    expect(scores).not.toContain(null);
    for (const { instruction, name } of rows("lipogram-prompts")) expect(instruction).toContain(name!);
  });
});

test("word problems are calculated right, and end in the last number that is calculated", () => {
  const problems = readFileSync("data/word-problems.jsonl", "utf8").trimEnd().split("\n");
  expect(problems).toHaveLength(24);
  const operators: Readonly<Record<string, (a: number, b: number) => number>> = {
    "+": (a, b) => a + b,
    "-": (a, b) => a - b,
    "*": (a, b) => a * b,
    "/": (a, b) => a / b,
  };
  for (const line of problems) {
    const { answer } = JSON.parse(line) as { answer: string };
    const steps = answer.split("\n");
    const end = steps.pop()!.match(/^#### (\d+)$/)![1]!;
    const results = steps.map((step) => {
      const [, before, a, operator, b, result, after] = step.match(
        /(\S+)=<<(\d+)([-+*/])(\d+)=(\d+)>>(\d+)/,
      ) as unknown as [string, string, string, string, string, string, string];
      expect([step, before, after]).toEqual([step, `${a}${operator}${b}`, result]);
      expect([step, operators[operator]!(Number(a), Number(b))]).toEqual([step, Number(result)]);
      return result;
    });
    expect([answer, results.at(-1)]).toEqual([answer, end]);
  }
});
