/** What a judge is shown, and what its replies say. */
import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import { defaultRubric, filled, readRubric, type Verdict, verdictOf } from "../../src/rewards/verdict";
import { temporaryFolder } from "../support/folder";

describe("a reply", () => {
  const cases: [reply: string, verdict: Verdict | null][] = [
    ["[[A]]", "first"],
    ["Both are fine, but B is true.\n[[B]]", "second"],
    ["[[tie]]", "tie"],
    ["[[TIE]]", "tie"],
    ["[[C]]", "tie"],
    ["My final verdict is: [[ b ]].", "second"],
    ["Verdict: A", "first"],
    ["**Verdict: B**", "second"],
    ["Reason.\n\nVerdict: tie\n", "tie"],
    ["Final verdict: Assistant A", "first"],
    ["B", "second"],
    ["Tie.", "tie"],
    ["[[A]] is what I thought at first.\n[[B]]", "second"],
    ["Is it [[A]]? Is it [[B]]?\nVerdict: A", "first"],
    ["[[A]]: it is shorter.", "first"],
    // What is found within other words is no verdict.
    ["INCORRECT", null],
    ["Verdict: INCORRECT, so A", null],
    ["Verdict: not A", null],
    ["Verdict: Actually both", null],
    ["A is better than B.", null],
    ["Assistant A is better", null],
    ["It is not [[A]].", null],
    ["Not [[A]], rather [[B]]", "second"],
    // Two things are none.
    ["[[A]] [[B]]", null],
    ["[[A]] if answer A is better, [[B]] if answer B is better, [[tie]] if neither is.", null],
    ["[[A]]\nVerdict: B or [[A]] [[tie]]", null],
    ["[[AB]]", null],
    ["[A]", "first"],
    ["", null],
    ["\n \n", null],
    ["<think>[[A]] or [[B]]</think>\n[[tie]]", "tie"],
    ["<think>[[A]] it is, or is it", null],
  ];
  for (const [reply, verdict] of cases)
    test(`${JSON.stringify(reply)} says ${verdict ?? "nothing"}`, () => expect(verdictOf(reply)).toBe(verdict));
  test("that was cut says what it says throughout, and nothing by its last line", () => {
    expect(verdictOf("[[A]] because", { cut: true })).toBe("first");
    expect(verdictOf("[[A]] it is, or\n[[B]]", { cut: true })).toBeNull();
  });
});

describe("a rubric", () => {
  const shown = { messages: [{ role: "user", content: "Why {b}?" }], first: "{prompt} $& {b}", second: "two" } as const;
  test("has the pair in its places, whatever stands in it", () => {
    expect(filled("{prompt}|{a}|{b}|{a}", shown)).toBe("Why {b}?|{prompt} $& {b}|two|{prompt} $& {b}");
    const text = filled(defaultRubric, shown);
    expect(text).toContain("<answer-a>\n{prompt} $& {b}\n</answer-a>\n\n<answer-b>\ntwo\n</answer-b>");
    for (const label of ["[[A]]", "[[B]]", "[[tie]]"]) expect(text.split(label)).toHaveLength(2);
  });
  test("shows who says what where there are several turns", () => {
    const messages = [
      { role: "system", content: "Be kind." },
      { role: "user", content: "Hi" },
    ] as const;
    expect(filled("{prompt}", { ...shown, messages })).toBe("system: Be kind.\n\nuser: Hi");
  });
  test("of the user's is refused without its places", async () => {
    using folder = temporaryFolder();
    const path = join(folder.path, "rubric.txt");
    await Bun.write(path, "{prompt} {a} which?");
    expect(() => readRubric(path)).toThrow(`${path} has no {b}`);
    await Bun.write(path, "{prompt} {a} {b}");
    expect(readRubric(path)).toBe("{prompt} {a} {b}");
    expect(() => readRubric(join(folder.path, "none"))).toThrow("there is no such file");
  });
});
