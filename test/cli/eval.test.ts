/** `eval choice`, and what `eval rule` says of pass@k: what is printed and written, and what is refused in one sentence. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import golden from "../golden/choice.json";
import { temporaryFolder } from "../support/folder";

const folder = temporaryFolder();
afterAll(() => folder[Symbol.dispose]());
const at = (name: string) => join(folder.path, name);

async function run(command: string, ...words: string[]) {
  const child = Bun.spawn(
    [process.execPath, "src/main.ts", "eval", command, "--model", "test/golden/choice", "--device", "cpu", ...words],
    { env: { ...process.env, DAWNGRAD_CACHE: at("cache") }, stdin: "ignore", stderr: "pipe" },
  );
  const [stdout, stderr] = await Promise.all([child.stdout.text(), child.stderr.text()]);
  return { stdout, stderr, code: await child.exited };
}

const lines = (rows: readonly object[]) => rows.map((row) => `${JSON.stringify(row)}\n`).join("");

beforeAll(() => {
  for (const name of ["blimp", "none"]) mkdirSync(at(name));
  for (const [name, { rows }] of Object.entries(golden.tasks.blimp)) writeFileSync(at(`blimp/${name}`), lines(rows));
  writeFileSync(at("lambada.jsonl"), lines(golden.tasks.lambada.lambada.rows));
  writeFileSync(at("empty.jsonl"), "");
  writeFileSync(at("broken.jsonl"), '{"text":"one two"}\n{"text":"one\n');
  writeFileSync(at("questions.jsonl"), lines([1, 2, 3].map((n) => ({ prompt: `The ferry ${n}`, completion: "left" }))));
  writeFileSync(at("pairs.jsonl"), lines([{ instruction: "Go?", chosen: "Yes.", rejected: "No." }]));
  writeFileSync(at("rule.ts"), "export const score = (_, answer) => answer.length % 2;");
});

test("pairs are questions, of which the chosen answer is the expected one", async () => {
  const words = ["--data", at("pairs.jsonl"), "--max-tokens", "4", "--template", "chat"];
  const [byRule, byAnswer] = [await run("rule", ...words, "--rule", "exact"), await run("answers", ...words)];
  expect([byRule.code, byAnswer.code]).toEqual([0, 0]);
  expect(byRule.stdout).toMatch(/^score +0\.000 .*1 answer/);
  expect(byAnswer.stdout).toMatch(/^exact match +0\.0%/);
});

describe("eval choice", () => {
  test("has a line for every file of a folder, and one for their mean", async () => {
    const { stdout, stderr, code } = await run("choice", "--task", "blimp", "--data", at("blimp"), "--batch", "2");
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout.split("\n").slice(0, 3)).toEqual([
      "agreement   acc         0.0000  ± 0.0000  (3 records)",
      "islands     acc         0.7500  ± 0.2500  (4 records)",
      "mean        acc         0.3750  ± 0.1250  (7 records)",
    ]);
    expect(stdout).toMatch(/lm-evaluation-harness .*; the mean of 2 files; ± standard error\n$/);
  });
  test("tells the figures as JSON, and writes every record", async () => {
    const more = ["--limit", "2", "--out", at("out.jsonl"), "--json"];
    const { stdout, code } = await run("choice", "--task", "lambada", "--data", at("lambada.jsonl"), ...more);
    expect(code).toBe(0);
    const { log_likelihoods: wanted } = golden.tasks.lambada.lambada;
    const { task, records, metrics } = JSON.parse(stdout);
    expect({ task, records, acc: metrics.acc.value }).toEqual({ task: "lambada", records: 2, acc: 0 });
    expect(metrics.perplexity.value).toBeCloseTo(Math.exp(-(wanted[0]![0]! + wanted[1]![0]!) / 2), 0);
    const written = readFileSync(at("out.jsonl"), "utf8").trim().split("\n");
    expect(written.map((line) => JSON.parse(line))).toMatchObject([
      { where: `${at("lambada.jsonl")}:1`, choices: ["oven"], gold: 0, greedy: [false] },
      { where: `${at("lambada.jsonl")}:2`, choices: ["café"], gold: 0, greedy: [false] },
    ]);
  });
  test.each<[string, string, number, string]>([
    ["hellaswg", "blimp", 2, "hint: did you mean hellaswag?"],
    ["mmlu", "blimp", 2, '--task is "mmlu", expected hellaswag, arc, blimp, lambada or choice'],
    ["arc", "blimp", 1, "agreement.jsonl:1 is no record of arc, which has question, choices"],
    ["arc", "empty.jsonl", 1, "empty.jsonl is empty"],
    ["arc", "nowhere.jsonl", 1, "nowhere.jsonl cannot be read: there is no such file"],
    ["arc", "none", 1, "none has no file of records"],
    ["lambada", "broken.jsonl", 1, "broken.jsonl:2: broken JSON"],
  ])("--task %s of %s is refused", async (task, data, wanted, says) => {
    const { stdout, stderr, code } = await run("choice", "--task", task, "--data", at(data));
    expect({ stdout, code }).toEqual({ stdout: "", code: wanted });
    expect(stderr).toContain(says);
    expect(stderr).toMatch(/^error: .+\n(hint: .+\n)?$/);
  });
});

describe("eval rule --pass-at", () => {
  const asked = () => ["--data", at("questions.jsonl"), "--rule", at("rule.ts"), "--max-tokens", "5"];
  const sampled = ["--samples", "4", "--temperature", "1"];
  test("tells how often one of k answers passes, from what each of them got", async () => {
    const more = ["--pass-at", "1,3", "--pass-at", "4", "--out", at("scored.jsonl"), "--json"];
    const { stdout, code } = await run("rule", ...asked(), ...sampled, ...more);
    expect(code).toBe(0);
    const { pass_at: rates, means } = JSON.parse(stdout);
    const passed = readFileSync(at("scored.jsonl"), "utf8").trim().split("\n");
    const scores = passed.map((line) => JSON.parse(line).scores.score as number);
    expect(scores.length).toBe(12);
    const counts = [0, 4, 8].map((i) => scores.slice(i, i + 4).reduce((a, b) => a + b, 0));
    const mean = (of: (c: number) => number) => counts.reduce((sum, c) => sum + of(c), 0) / 3;
    expect(rates["1"].value).toBeCloseTo(means.score.mean, 12);
    // Of the four sets of three answers, those without the one that passes are the only ones to fail.
    expect(rates["3"].value).toBeCloseTo(
      mean((c) => [0, 3 / 4, 1, 1, 1][c]!),
      12,
    );
    expect(rates["4"]).toMatchObject({ value: mean((c) => Number(c > 0)), problems: 3 });
  });
  test.each([
    ["5", "--pass-at 5 wants 5 answers of each question, and --samples is 4"],
    ["0", "--pass-at is 0, expected a whole number of at least 1"],
    ["1,x", '--pass-at is "x", expected a number'],
  ])("%s is refused", async (k, says) => {
    const { stderr, code } = await run("rule", ...asked(), ...sampled, "--pass-at", k);
    expect(code).toBe(2);
    expect(stderr).toStartWith(`error: ${says}\n`);
  });
});
