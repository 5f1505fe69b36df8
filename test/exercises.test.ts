/** Exercises: every one has a solution that is right, and a beginning that is told what it lacks. */
import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { checks } from "../scripts/exercises/checks";

const names = Object.keys(checks);

function exercise(...words: string[]) {
  const { exitCode, stdout } = Bun.spawnSync([process.execPath, "scripts/exercise.ts", ...words]);
  return { exitCode, lines: stdout.toString().trim().split("\n") };
}

test("every solution is right", () => {
  const { exitCode, lines } = exercise("--solution");
  expect(lines).toEqual(names.map((name) => `${name}: right`));
  expect(exitCode).toBe(0);
});

test("what is not written, or wrong by one, is told in a sentence", () => {
  const { exitCode, lines } = exercise();
  expect(lines).toHaveLength(names.length);
  for (const line of lines) expect(line).toMatch(/: (not written yet|.*sees the token|pretrain: NaN)/);
  expect(exitCode).toBe(1);
});

test("an exercise that is not there is refused", () => {
  expect(exercise("attentive").exitCode).toBe(2);
});

test("a wrong answer is not right", () => {
  const wrong: Readonly<Record<string, object>> = {
    attention: { attention: (_q: unknown, _k: unknown, v: unknown) => v },
    mask: { masked: (scores: number[][], v: number[][]) => scores.map((_, t) => v[t]!.map((x) => x)) },
    "first-loss": { firstLoss: { pretrain: Math.log(640), dpo: Math.LN2, smoothed: Math.LN2, ipo: 0.5, hinge: 1 } },
    gradient: { gradient: (logits: number[]) => logits.map(() => 0) },
    dpo: { dpo: () => Math.LN2 },
    advantages: { advantages: (rewards: number[][]) => rewards },
    int8: { quantise: (row: number[]) => ({ codes: row.map(() => 0), scale: 1 }) },
  };
  for (const name of names) expect(checks[name]!(wrong[name] as never), name).toBeString();
});

test("the page names every exercise", () => {
  const page = readFileSync("docs/exercises.md", "utf8");
  for (const name of names) {
    expect(page).toContain(`npm run exercise ${name}`);
    expect(page).toContain(`exercises/solutions/${name}.ts`);
  }
});
