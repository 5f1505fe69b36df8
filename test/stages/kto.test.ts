/** KTO: its first loss, its baseline, and which answers are mismatched. */
import { describe, expect, test } from "bun:test";
import type { JudgedExample } from "../../src/data/pairs";
import { mismatched } from "../../src/stages/baseline";
import { schema, stageOf } from "../../src/stages/kto";
import { ownCacheFolder } from "../support/cache";
import { bytes, example, smallContext, template, trainedSteps } from "../support/comparing";
import { onEachDevice } from "../support/device";

ownCacheFolder();

const judged = (prompt: readonly number[], answer: readonly number[], good: boolean): JudgedExample => ({
  answer: example(prompt, answer),
  good,
  prompt: prompt.join(" "),
  where: "a row",
});

const answers: readonly JudgedExample[] = [
  judged([3, 9, 12], [4, 5, 6, 35], true),
  judged([3, 9, 12], [7, 35], false),
  judged([1, 2], [11, 13, 35], true),
  judged([20, 21, 22, 23], [9, 10, 35], false),
  judged([5], [14, 15, 16, 17, 18, 35], true),
  judged([5], [19, 35], false),
  judged([8, 9], [2, 2, 35], true),
];

async function run(given: Record<string, unknown>, train = answers, steps = 3) {
  const config = schema.parse({ kind: "kto", data: "-", shuffle: false, ...given });
  using context = await smallContext();
  const data = { train, held: [], template, tokenizer: bytes, lines: [] };
  using stage = await stageOf(config, context, data, 12);
  return await trainedSteps(stage, steps);
}

onEachDevice(() => {
  test.each([
    [{}, 0.5],
    [{ loss: "apo_zero_unpaired" }, 0.5],
    [{ desirable: 1, undesirable: 1.33 }, 0.570714],
    [{ precompute: false, lora: {} }, 0.5],
    [{ precompute: false }, 0.5],
  ])("%o begins at half of the mean weight", async (given, wanted) => {
    const [first, second] = await run(given);
    expect(first!.loss).toBeCloseTo(wanted, 5);
    expect(first!.kl ?? 0).toBeCloseTo(0, 5);
    expect(second!.loss).toBeLessThan(wanted);
  });

  test("the baseline is the whole step's, however its micro-batches are cut", async () => {
    const given = { undesirable: 0.1 };
    const whole = await run({ ...given, batch: { rows: 7 } });
    expect(whole[2]!.kl).toBeGreaterThan(0.01);
    for (const rows of [1, 2, 3]) {
      const parts = await run({ ...given, batch: { rows, accumulate: 8 } });
      for (const [i, line] of whole.entries())
        for (const name of ["loss", "grad_norm", "kl", "rewards/chosen", "logps/rejected", "logits/chosen"])
          expect(Math.abs(parts[i]![name]! - line[name]!), `${name} of step ${i}`).toBeLessThan(
            2e-5 * Math.max(1, Math.abs(line[name]!)),
          );
    }
  });

  test("a reference that is computed with each step gives the numbers of one computed before", async () => {
    const [before, live] = [await run({}), await run({ precompute: false })];
    for (const [i, { loss, grad_norm }] of before.entries()) {
      expect(live[i]!.loss).toBeCloseTo(loss!, 5);
      expect(live[i]!.grad_norm! / grad_norm!).toBeCloseTo(1, 4);
    }
  });

  test("good answers alone are learned from", async () => {
    const all = await run(
      {},
      answers.filter(({ good }) => good),
    );
    for (const { loss, grad_norm } of all) expect(Number.isFinite(loss! + grad_norm!)).toBe(true);
    expect(all[2]!.loss).toBeLessThan(all[0]!.loss!);
  });
});

describe("which answers are mismatched", () => {
  const said = (found: ReturnType<typeof mismatched>) => found.map(({ ids }) => [...ids]);
  test("each prompt has the answer before it, the first the last one's", () => {
    const step = [answers[0]!, answers[2]!, answers[3]!];
    expect(said(mismatched(step, 12))).toEqual([
      [3, 9, 12, 9, 10, 35],
      [1, 2, 4, 5, 6, 35],
      [20, 21, 22, 23, 11, 13, 35],
    ]);
  });
  test("none has its own answer, nor one to the same prompt where there is another", () => {
    const step = [answers[0]!, answers[1]!, answers[2]!];
    expect(said(mismatched(step, 12))).toEqual([
      [3, 9, 12, 11, 13, 35],
      [3, 9, 12, 11, 13, 35],
      [1, 2, 7, 35],
    ]);
  });
  test("one alone in its step takes another's, and what is too long is cut", () => {
    expect(said(mismatched([answers[6]!], 5, answers[4]))).toEqual([[8, 9, 14, 15, 16]]);
  });
});
