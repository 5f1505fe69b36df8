/** Win rates, plain and at equal length, by hand and by scikit-learn: test/golden/length_controlled.py. */
import { describe, expect, test } from "bun:test";
import { fitLengths, lengthControlled } from "../../src/eval/length-controlled";
import { pairedScores } from "../../src/eval/paired-scores";
import { type Points, pointsOf, type Winner, winRate } from "../../src/eval/win-rate";
import golden from "../golden/length_controlled.json";

const pairsOf = ({ points, lengths }: (typeof golden)[number]) =>
  points.map((one, i) => ({ points: one, lengths: lengths[i] as [number, number] }));

describe("a pair", () => {
  const cases: [ab: Winner | null, ba: Winner | null, points: Points | null][] = [
    ["a", "a", 1],
    ["b", "b", 0],
    ["a", "b", 0.5],
    ["b", "a", 0.5],
    ["tie", "tie", 0.5],
    ["a", "tie", 0.5],
    ["tie", "b", 0.5],
    [null, "b", null],
    ["a", null, null],
    [null, null, null],
  ];
  for (const [ab, ba, points] of cases)
    test(`that is judged ${ab} and ${ba} is worth ${points}`, () => expect(pointsOf(ab, ba)).toBe(points));
});

test("a win rate counts half of the ties, with the standard error of its mean", () => {
  // Mean 0.625; squares of the deviations 0.140625 * 2 + 0.015625 + 0.390625 = 0.6875; root of 0.6875 / 3 / 4.
  expect(winRate([1, 1, 0.5, 0])).toMatchObject({ pairs: 4, wins: 2, ties: 1, losses: 1, win_rate: 62.5 });
  expect(winRate([1, 1, 0.5, 0]).standard_error!).toBeCloseTo(100 * Math.sqrt(0.6875 / 12), 10);
  expect(winRate([0.5, 0.5, 0.5])).toMatchObject({ win_rate: 50, standard_error: 0 });
  expect(winRate([1])).toMatchObject({ win_rate: 100, standard_error: null });
  expect(winRate([])).toMatchObject({ pairs: 0, win_rate: null, standard_error: null });
});

describe("at equal length", () => {
  for (const one of golden)
    test(`${one.name}: scikit-learn's coefficients`, () => {
      const { theta, phi } = fitLengths(pairsOf(one));
      expect(Math.abs(theta - one.theta)).toBeLessThan(1e-6);
      expect(Math.abs(phi - one.phi)).toBeLessThan(1e-6);
      const found = lengthControlled(pairsOf(one), 1)!;
      expect(Math.abs(found.win_rate - one.win_rate)).toBeLessThan(1e-6);
      const plain = winRate(one.points as Points[]);
      expect(plain.win_rate!).toBeCloseTo(one.plain.win_rate, 9);
      expect(plain.standard_error!).toBeCloseTo(one.plain.standard_error, 9);
      // Two samples of 1000 resamples: each error is known to about 2.2% (more where the distribution is wide).
      if (one.standard_error) expect(Math.abs(found.standard_error! / one.standard_error - 1)).toBeLessThan(0.12);
    });
  test("a judge that likes length is corrected, and ties stay at 50", () => {
    const [biased, , , tied] = golden;
    expect(lengthControlled(pairsOf(biased!), 1)!.win_rate).toBeLessThan(biased!.plain.win_rate - 3);
    expect(lengthControlled(pairsOf(tied!), 1)).toMatchObject({ win_rate: 50, standard_error: 0, theta: 0, phi: 0 });
  });
  test("the error is the seed's", () => {
    const pairs = pairsOf(golden[1]!);
    expect(lengthControlled(pairs, 1)).toEqual(lengthControlled(pairs, 1));
    expect(lengthControlled(pairs, 1)!.standard_error).not.toBe(lengthControlled(pairs, 2)!.standard_error);
  });
  test("of one pair, or none", () => {
    expect(lengthControlled([{ points: 0.5, lengths: [1, 2] }], 1)).toMatchObject({
      win_rate: 50,
      standard_error: null,
    });
    expect(lengthControlled([], 1)).toBeNull();
  });
});

test("scores of two models: their difference with the paired error, and who is ahead", () => {
  const found = pairedScores([
    [2, 1],
    [0, 0],
    [3, 5],
    [4, 1],
    [null, 1],
  ]);
  expect(found).toMatchObject({
    pairs: 4,
    unjudged: 1,
    a: 2.25,
    b: 1.75,
    difference: 0.5,
    wins: 2,
    ties: 1,
    losses: 1,
  });
  // Differences 1, 0, -2, 3: squares of the deviations 0.25 + 0.25 + 6.25 + 6.25 = 13; root of 13 / 3 / 4.
  expect(found.difference_error!).toBeCloseTo(Math.sqrt(13 / 12), 12);
  expect(found.win_rate).toBe(62.5);
  expect(pairedScores([[null, 1]])).toMatchObject({ pairs: 0, unjudged: 1, a: null, difference: null, win_rate: null });
});
