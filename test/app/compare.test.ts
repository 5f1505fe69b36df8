/** Two models, or files of answers, on the same prompts: which are paired, and how a rule and a reward model score them. */
import { expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { readingBy } from "../../src/app/locate";
import { openModel } from "../../src/app/model";
import { savedNormalisation, scoreFile } from "../../src/app/score";
import { loadRule } from "../../src/eval/rule";
import { comparePairs } from "../../src/stages/evals/compare";
import { type PairOptions, pairedAnswers, type Side } from "../../src/stages/evals/paired-answers";
import { silent } from "../support/console";
import { device } from "../support/device";
import { temporaryFolder } from "../support/folder";
import { writeToy } from "../support/talking";

const options: PairOptions = {
  ...{ data: null, template: "auto", limit: 0, batch: 4, maxTokens: 6, temperature: 0, seed: 1 },
};

function write(path: string, rows: readonly object[]): string {
  writeFileSync(path, rows.map((row) => `${JSON.stringify(row)}\n`).join(""));
  return path;
}

const fileSide = (name: string): Side => ({ name, open: null });
const modelSide = (name: string): Side => ({ name, open: () => openModel(device("cpu"), name) });

function listening() {
  const notes: string[] = [];
  return { notes, console: { ...silent, note: (line: string) => notes.push(line) } };
}

const question = (content: string) => [{ role: "user", content }];

test("files of answers are paired by their prompts, in whichever fields they are", async () => {
  using folder = temporaryFolder();
  const at = (name: string) => join(folder.path, name);
  const a = write(at("a.jsonl"), [
    { prompt: "one", answer: "1a" },
    { messages: question("two"), answer: "2a" },
    { instruction: "three", output: "3a" },
    { prompt: "one", answer: "again" },
    { prompt: "five", answer: "" },
    { prompt: "six" },
  ]);
  const b = write(at("b.jsonl"), [
    { question: "three", answer: "3b" },
    { prompt: "two ", answer: "2b" },
    { messages: question("one"), response: "1b" },
    { prompt: "five", answer: "5b" },
  ]);
  const { notes, console } = listening();
  const pairs = await pairedAnswers([fileSide(a), fileSide(b)], options, readingBy(console));
  expect(pairs.map(({ messages, a, b }) => [messages.at(-1)!.content, a, b])).toEqual([
    ["one", "1a", "1b"],
    ["two", "2a", "2b"],
    ["three", "3a", "3b"],
    ["one", "1a", "1b"],
    ["five", "", "5b"],
  ]);
  expect(notes.join("\n")).toContain(`${a}:4: its prompt stands before it already`);
  expect(notes.join("\n")).toContain("it has no answer");
  expect(notes.at(-1)).toBe("1 of 6 prompts are left out: not both sides answer them");
  const data = write(at("data.jsonl"), [{ prompt: "two" }, { prompt: "nine" }]);
  const some = await pairedAnswers([fileSide(a), fileSide(b)], { ...options, data }, readingBy(silent));
  expect(some.map(({ a, b }) => [a, b])).toEqual([["2a", "2b"]]);
  const none = write(at("none.jsonl"), [{ prompt: "nine" }]);
  await expect(
    pairedAnswers([fileSide(a), fileSide(b)], { ...options, data: none }, readingBy(silent)),
  ).rejects.toThrow(/there is no prompt of .* both answer$/);
  await expect(pairedAnswers([fileSide(none), fileSide(b)], options, readingBy(silent))).rejects.toThrow(
    "has no answers",
  );
  await expect(pairedAnswers([fileSide(a), modelSide("x")], options, readingBy(silent))).rejects.toThrow(
    "--data is missing",
  );
});

test("two models answer the same prompts, and a reward model scores as `score` does", async () => {
  using folder = temporaryFolder();
  const at = (name: string) => join(folder.path, name);
  await writeToy(at("one"));
  await writeToy(at("other"), { seed: 8 });
  await writeToy(at("reward"), { seed: 5, scalar: true });
  const rows = ["Why?", "Who is it?", "How old are you", "x", "What now"].map((content) => ({
    messages: question(content),
    wanted: content.length,
  }));
  const data = write(at("data.jsonl"), [...rows, { messages: question("y".repeat(400)) }, { nothing: 1 }]);
  const given = { ...options, data };
  const { notes, console } = listening();
  const pairs = await pairedAnswers([modelSide(at("one")), modelSide(at("other"))], given, readingBy(console));
  expect(pairs.map(({ columns }) => columns.wanted)).toEqual(rows.map(({ wanted }) => wanted));
  expect(pairs.some(({ a, b }) => a !== b)).toBe(true);
  expect(notes.join("\n")).toContain("it has no prompt");
  expect(notes.join("\n")).toContain("the prompt has");
  expect(notes.at(-1)).toBe("1 of 6 prompts are left out: not both sides answer them");

  using opened = await openModel(device("cpu"), at("reward"));
  const reward = { ...opened, device: device("cpu"), normalisation: savedNormalisation(opened) };
  const { pairs: compared, figures } = await comparePairs(pairs, { rule: null, reward, batch: 3 }, silent);
  const whole = pairs.flatMap(({ messages, a, b }) =>
    [a, b].map((content) => ({ messages: [...messages, { role: "assistant", content }] })),
  );
  const scored = await scoreFile(
    reward,
    { data: write(at("whole.jsonl"), whole), template: "auto", strict: true, raw: false, batch: 1 },
    silent,
  );
  const flat = compared.flatMap(({ scores }) => scores.reward!);
  expect(flat).toEqual(scored.texts.map(({ score }) => score));
  const ahead = compared.filter(({ scores: { reward } }) => reward![0]! > reward![1]!).length;
  const level = compared.filter(({ scores: { reward } }) => reward![0] === reward![1]).length;
  expect(figures.scores.reward).toMatchObject({
    pairs: 5,
    wins: ahead,
    ties: level,
    win_rate: (ahead + level / 2) * 20,
  });
  expect(figures.equal).toBe(pairs.filter(({ a, b }) => a === b).length);
  // The other way round it is the mirror image.
  const swapped = pairs.map((pair) => ({ ...pair, a: pair.b, b: pair.a }));
  const { figures: mirror } = await comparePairs(swapped, { rule: null, reward, batch: 3 }, silent);
  expect(mirror.scores.reward!.difference!).toBeCloseTo(-figures.scores.reward!.difference!, 10);
  expect(mirror.scores.reward!.win_rate!).toBeCloseTo(100 - figures.scores.reward!.win_rate!, 10);

  // A model beside itself.
  const same = await pairedAnswers(
    [modelSide(at("one")), modelSide(at("one"))],
    { ...given, limit: 3 },
    readingBy(silent),
  );
  const rule = await loadRule("length:4");
  const itself = await comparePairs(same, { rule, reward, batch: 2 }, silent);
  expect(itself.figures).toMatchObject({ prompts: same.length, equal: same.length });
  for (const name of ["score", "reward"])
    expect(itself.figures.scores[name]).toMatchObject({ win_rate: 50, standard_error: 0, difference: 0, wins: 0 });
}, 30_000);

test("a rule scores plain text and turns by the record's columns, and says what it does not judge", async () => {
  using folder = temporaryFolder();
  const at = (name: string) => join(folder.path, name);
  const data = write(at("data.jsonl"), [
    { prompt: "1 + 1", answer: "2" },
    { prompt: "2 + 2", answer: "4" },
    { prompt: "3 + 3" },
  ]);
  const rows = (answers: readonly string[]) =>
    ["1 + 1", "2 + 2", "3 + 3"].map((prompt, i) => ({ prompt, answer: answers[i] }));
  const sides = [write(at("a.jsonl"), rows(["2", "4", "6"])), write(at("b.jsonl"), rows(["2", "5", "7"]))] as const;
  const pairs = await pairedAnswers([fileSide(sides[0]), fileSide(sides[1])], { ...options, data }, readingBy(silent));
  const { figures, pairs: compared } = await comparePairs(
    pairs,
    { rule: await loadRule("exact"), reward: null, batch: 1 },
    silent,
  );
  expect(compared.map(({ scores }) => scores.score)).toEqual([
    [1, 1],
    [1, 0],
    [null, null],
  ]);
  expect(figures).toMatchObject({ prompts: 3, equal: 1 });
  expect(figures.scores.score).toMatchObject({ pairs: 2, unjudged: 1, a: 1, b: 0.5, difference: 0.5, win_rate: 75 });

  const command = async (...more: string[]) => {
    const child = Bun.spawn([process.execPath, "src/main.ts", "eval", "compare", ...more], {
      stdout: "pipe",
      stderr: "pipe",
      stdin: "ignore",
    });
    const [stdout, stderr] = await Promise.all([child.stdout.text(), child.stderr.text()]);
    return { stdout, stderr, code: await child.exited };
  };
  const { stdout, stderr, code } = await command(...sides, "--data", data, "--rule", "exact");
  expect(code, stderr).toBe(0);
  expect(stdout).toBe(`${data}:1
  user
    1 + 1
  A and B, the same  score 1.000
    2

${data}:2
  user
    2 + 2
  A  score 1.000
    4
  B  score 0.000
    5

${data}:3
  user
    3 + 3
  A  score not judged
    6
  B  score not judged
    7

3 prompts, 2 answered differently
score: A 1.000, B 0.500, A - B 0.500  (standard error 0.500; 2 pairs; not judged: 1)
score: A wins 75.0%  (standard error 25.0; 1 won, 1 tied, 0 lost)
`);
  const out = at("out.jsonl");
  const json = await command(...sides, "--data", data, "--rule", "exact", "--json", "--out", out);
  expect(JSON.parse(json.stdout)).toEqual(JSON.parse(JSON.stringify(figures)));
  const written = (await Bun.file(out).text()).trim().split("\n");
  expect(JSON.parse(written[1]!)).toMatchObject({
    where: `${data}:2`,
    a: "4",
    b: "5",
    equal: false,
    scores: { score: [1, 0] },
  });
  const refused = await command(sides[0], "--data", data);
  expect([refused.code, refused.stdout]).toEqual([2, ""]);
}, 30_000);
