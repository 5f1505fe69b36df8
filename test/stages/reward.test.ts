/** Reward models: their loss and metrics, what a batch may not change, and how their scores are normalised. */
import { describe, expect, test } from "bun:test";
import { groupsOf } from "../../src/data/groups";
import type { PairExample } from "../../src/data/pairs";
import { scoresOf } from "../../src/eval/scores";
import { normalisationOf } from "../../src/stages/normalised";
import { schema, stageOf } from "../../src/stages/reward";
import { bytes, pairOf, scoredContext, template, trainedSteps } from "../support/comparing";
import { device, onEachDevice } from "../support/device";

const pairs: readonly PairExample[] = [
  pairOf([3, 9, 12], [4, 5, 6, 35], [7, 35]),
  pairOf([3, 9, 12], [4, 5, 6, 35], [8, 35]),
  pairOf([1, 2], [11, 13, 35], [30, 31, 32, 33, 35]),
  pairOf([20, 21, 22, 23, 24], [8, 35], [9, 10, 35]),
  pairOf([5], [14, 15, 16, 17, 18, 35], [19, 35]),
];

async function run(given: Record<string, unknown>, head: (i: number) => number, train = pairs, steps = 3) {
  const config = schema.parse({ kind: "reward", data: "-", shuffle: false, normalise: { samples: 0 }, ...given });
  using context = await scoredContext(head);
  const data = { train, held: [], template, tokenizer: bytes, lines: [] };
  using stage = await stageOf(config, context, data, 12);
  return await trainedSteps(stage, steps);
}

onEachDevice(() => {
  test("a head of zeros begins at ln 2, with accuracy 0", async () => {
    const [first, second] = await run({}, () => 0);
    expect(first!.loss).toBeCloseTo(Math.LN2, 6);
    expect(first!.accuracy).toBe(0);
    expect(second!.loss).toBeLessThan(first!.loss!);
  });

  test("micro-batches, however they are cut, give the losses of one", async () => {
    const whole = await run({ centring: 0.01 }, (i) => Math.sin(i));
    const parts = await run({ centring: 0.01, batch: { rows: 2, accumulate: 8 } }, (i) => Math.sin(i));
    for (const [i, { loss, grad_norm, accuracy, margin, mean_reward }] of whole.entries()) {
      const other = parts[i]!;
      expect(other.loss! / loss!).toBeCloseTo(1, 5);
      expect(other.grad_norm! / grad_norm!).toBeCloseTo(1, 4);
      expect(other.accuracy).toBeCloseTo(accuracy!, 6);
      expect(other.margin).toBeCloseTo(margin!, 5);
      expect(other.mean_reward).toBeCloseTo(mean_reward!, 5);
    }
  });

  test("a sequence's score is the same alone and among neighbours of other lengths", async () => {
    using context = await scoredContext((i) => Math.sin(i));
    const sequences = [3, 9, 1, 12, 5, 7, 2].map((n, k) => Uint32Array.from({ length: n }, (_, i) => (7 * i + k) % 36));
    const scored = async (given: readonly Uint32Array[], rows: number) => {
      const found: number[] = [];
      const scoring = { device: device(), model: context.model, slabs: [context.weights], rows, length: 12 };
      for await (const [at, score] of scoresOf(scoring, given)) found[at] = score;
      return found;
    };
    const together = await scored(sequences, 7);
    for (const [i, ids] of sequences.entries())
      expect(Math.abs((await scored([ids], 1))[0]! - together[i]!)).toBeLessThan(1e-5);
    expect(new Set(together.map((score) => score.toFixed(5))).size).toBe(7);
  });
});

describe("groups", () => {
  test("an answer that is in several pairs of a prompt is read once", () => {
    const groups = groupsOf(pairs, 16);
    expect(groups.map(({ answers, pairs }) => [answers.length, pairs.length])).toEqual([
      [3, 2],
      [2, 1],
      [2, 1],
      [2, 1],
    ]);
    expect(groups[0]!.pairs).toEqual([
      { chosen: 0, rejected: 1, margin: 0 },
      { chosen: 0, rejected: 2, margin: 0 },
    ]);
  });
  test("a prompt with more answers than there is room for becomes several, and no pair is lost", () => {
    const many = Array.from({ length: 9 }, (_, i) => pairOf([1], [2 + i, 35], [20 + (i % 4), 35]));
    const groups = groupsOf(many, 4);
    expect(Math.max(...groups.map(({ answers }) => answers.length))).toBeLessThanOrEqual(4);
    const told = groups.flatMap(({ answers, pairs }) =>
      pairs.map(({ chosen, rejected }) => [[...answers[chosen]!.ids], [...answers[rejected]!.ids]]),
    );
    const wanted = many.map(({ chosen, rejected }) => [[...chosen.ids], [...rejected.ids]]);
    expect(told.map(String).sort()).toEqual(wanted.map(String).sort());
  });
});

test("scores are brought to mean 0 and deviation 1", () => {
  const { gain, bias } = normalisationOf([1, 3, 5, 7]);
  const found = [1, 3, 5, 7].map((score) => gain * score + bias);
  expect(found.reduce((a, b) => a + b)).toBeCloseTo(0, 12);
  expect(found.reduce((sum, x) => sum + x * x, 0) / 3).toBeCloseTo(1, 12);
  expect(normalisationOf([2, 2, 2])).toEqual({ gain: 1, bias: 0 });
});
