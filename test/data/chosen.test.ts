/** Pairs as questions: what both sides are answers to, and the better one as what is expected. */
import { expect, test } from "bun:test";
import { arePairs, chosenIn } from "../../src/data/chosen";
import { samplesIn } from "../../src/data/samples";
import { expectedIn } from "../../src/rewards/rules";

const trees = { paths: "best", lang: "", quality: 0 } as const;
const rowsOf = (...records: Record<string, unknown>[]) => ({
  rows: records.map((fields, i) => ({ fields, where: `pairs.jsonl:${i + 1}` })),
  bad: [],
});

test("a pair asks its prompt and expects its chosen answer; a bad one is told", () => {
  const rows = rowsOf(
    { instruction: "Where?", chosen: "Here.", rejected: "There.", note: "x" },
    { prompt: [{ role: "user", content: "Who?" }], chosen: "Pip.", rejected: "Bram." },
    { instruction: "What?", chosen: "Same.", rejected: "Same." },
  );
  expect(arePairs(rows.rows)).toBe(true);
  const { samples, bad, read, format } = chosenIn(rows, "pairs.jsonl", { trees, strict: false });
  expect(format).toBe("messages");
  expect(read).toBe(3);
  expect(samples.map((sample) => sample.kind === "messages" && sample.messages.map(({ content }) => content))).toEqual([
    ["Where?", "Here."],
    ["Who?", "Pip."],
  ]);
  expect(samples[0]!.unread).toEqual(["note"]);
  expect(bad).toEqual([{ where: "pairs.jsonl:3", problem: "the two sides are the same" }]);
});

test("beside other files pairs are examples of their better answers, and told so", () => {
  const rows = rowsOf({ instruction: "Where?", chosen: "Here.", rejected: "There." });
  const { said, samples } = samplesIn(rows, "pairs.jsonl", { trees, strict: false });
  expect(said).toBe("pairs, of each the chosen answer");
  expect(samples).toHaveLength(1);
});

test("examples are no pairs, and a rule finds what a pair expects", () => {
  expect(arePairs(rowsOf({ instruction: "Where?", output: "Here." }).rows)).toBe(false);
  expect(expectedIn({ instruction: "Where?", chosen: "Here.", rejected: "There." })).toEqual(["Here."]);
  expect(expectedIn({ answer: "4", chosen: "Four." })).toEqual(["4"]);
});
