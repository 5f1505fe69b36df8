/** A user's rule: how its module is loaded, what it may return, and what is told of its numbers. */
import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import { interval } from "../../src/eval/interval";
import { loadRule, ruleFigures, scoresBy } from "../../src/eval/rule";
import { temporaryFolder } from "../support/folder";

const messages = [{ role: "user", content: "Who?" }] as const;
const given = { messages, answer: "Pip.", columns: { best: "Pip" } };

/** Loads a module of this text. */
async function ruleOf(text: string, wanted = "") {
  using folder = temporaryFolder();
  const path = join(folder.path, "rule.ts");
  await Bun.write(path, text);
  return await loadRule(`${path}${wanted}`);
}

describe("a rule", () => {
  test("is a module's score, told first, and its other functions", async () => {
    const rule = await ruleOf(`
      interface Turn { role: string; content: string }
      export const words = ["Pip."];
      export const long = (messages: readonly Turn[], answer: string): number => answer.length;
      export const score = (messages: readonly Turn[], answer: string, columns: Record<string, unknown>) =>
        answer === columns.best + "." && messages[0].content === "Who?" ? 1 : null;
    `);
    const scores = await scoresBy(rule, given);
    expect(Object.entries(scores)).toEqual([
      ["score", 1],
      ["long", 4],
    ]);
    expect(await scoresBy(rule, { ...given, answer: "Tom." })).toEqual({ score: null, long: 4 });
  });
  test("may be a module's default", async () => {
    const halves = await ruleOf("export default (prompts, completions) => completions.map(() => 0.5)");
    expect(await scoresBy(halves, given)).toEqual({ score: 0.5 });
    await expect(ruleOf("export default () => [1, 1]").then((rule) => scoresBy(rule, given))).rejects.toThrow(
      "is [1,1], expected a number or null",
    );
    const both = await ruleOf("export const score = () => 1; export default score");
    expect(await scoresBy(both, given)).toEqual({ score: 1 });
  });
  test("may be another function of a module", async () => {
    const text = "export const score = () => 1; export const half = () => 0.5";
    expect(await scoresBy(await ruleOf(text, "#half"), given)).toEqual({ score: 0.5 });
    await expect(ruleOf(text, "#third")).rejects.toThrow("it has no function third: it has half, score");
  });
  test("may answer later", async () => {
    expect(await scoresBy(await ruleOf("export const score = async () => 0.25"), given)).toEqual({ score: 0.25 });
  });
  test("may be known by its name", async () => {
    await expect(loadRule("exatc")).rejects.toMatchObject({ hint: "did you mean the rule exact?" });
    expect(await scoresBy(await loadRule("exact"), { ...given, columns: { answer: "Pip." } })).toEqual({ score: 1 });
  });
  test("that cannot be used is told in a sentence", async () => {
    const refused = async (text: string) => ruleOf(text).then((rule) => scoresBy(rule, given));
    await expect(refused("export const scored = () => 1")).rejects.toThrow("has no function score: it has scored");
    await expect(refused("export const score = 1")).rejects.toThrow("has no function score: it has score");
    await expect(refused("export const score = (")).rejects.toThrow(/rule\.ts cannot be loaded: /);
    await expect(refused("throw new Error('no luck')")).rejects.toThrow("rule.ts cannot be loaded: no luck");
    await expect(refused("import './other'; export const score = () => 1")).rejects.toThrow(
      /cannot be loaded: .*other/,
    );
    const thrown = refused("export const score = () => { throw new Error('no luck') }");
    await expect(thrown).rejects.toThrow('score of the answer "Pip." threw: no luck');
    for (const [value, told] of [
      ["true", "true"],
      ["'1'", '"1"'],
      ["undefined", "undefined"],
      ["NaN", "NaN"],
    ])
      await expect(refused(`export const score = () => ${value}`)).rejects.toThrow(
        `score of the answer "Pip." is ${told}, expected a number or null`,
      );
    await expect(refused("export const score = () => 1; export const truth = () => '';")).rejects.toThrow(
      "truth of the answer",
    );
    await expect(refused("export default (")).rejects.toThrow("cannot be loaded: Unexpected end of file");
    await expect(loadRule("no-such-rule.ts")).rejects.toThrow("no-such-rule.ts cannot be read: there is no such file");
  });
});

test("the figures are means of what is judged, all together and by group", () => {
  const scored = [
    { scores: { score: 1, truth: 1 }, group: "b", problem: "0" },
    { scores: { score: 0, truth: 1 }, group: "b", problem: "0" },
    { scores: { score: null, truth: 0 }, group: "a", problem: "1" },
  ];
  const { method, answers, unjudged, means, groups } = ruleFigures(scored, { method: "greedy" });
  expect({ method, answers, unjudged }).toEqual({ method: "greedy", answers: 3, unjudged: 1 });
  expect(means.score).toMatchObject({ mean: 0.5, count: 2 });
  expect(means.truth).toMatchObject({ mean: 2 / 3, count: 3 });
  expect(Object.keys(groups!)).toEqual(["a", "b"]);
  expect(groups!.a).toMatchObject({ answers: 1, unjudged: 1, means: { score: null, truth: { mean: 0 } } });
  expect(groups!.b!.means.truth).toMatchObject({ mean: 1, count: 2 });
  const alone = ruleFigures(
    scored.map((one) => ({ ...one, group: null })),
    { method: "greedy" },
  );
  expect(alone.groups).toBeUndefined();
  expect(alone.pass_at).toBeUndefined();
  const passed = ruleFigures(scored, { method: "greedy", passAt: [1, 2, 3] });
  expect(passed.pass_at).toEqual({
    1: { value: 0.5, stderr: null, problems: 1 },
    2: { value: 1, stderr: null, problems: 1 },
    3: null,
  });
  expect(passed.groups!.a!.pass_at).toEqual({ 1: null, 2: null, 3: null });
});

test("an interval is Wilson's for shares, and the normal distribution's for what lies beyond them", () => {
  // 81 of 263, as in the worked example of Newcombe (1998).
  const shares = interval([...Array(81).fill(1), ...Array(182).fill(0)])!;
  expect(shares.low).toBeCloseTo(0.2553, 4);
  expect(shares.high).toBeCloseTo(0.3662, 4);
  expect(interval([1, 1])).toMatchObject({ mean: 1, high: 1 });
  expect(interval([0])).toMatchObject({ mean: 0, low: 0 });
  const wide = interval([-2, 0, 2, 4])!;
  expect(wide.mean).toBe(1);
  // The deviation is the root of 20 / 3, and that of the mean half of it.
  expect(wide.high - wide.mean).toBeCloseTo((1.95996 * Math.sqrt(20 / 3)) / 2, 4);
  expect(interval([])).toBeNull();
});
