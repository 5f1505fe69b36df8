/** pass@k against every choice of k answers, against binomial coefficients without rounding, and far beyond what those would fit in. */
import { expect, test } from "bun:test";
import { passAt, passRate } from "../../src/eval/pass-at";

/** Every set of k of the numbers below n. */
function* sets(n: number, k: number, from = 0): Generator<number[]> {
  if (k === 0) yield [];
  for (let i = from; i < n && k > 0; i++) for (const rest of sets(n, k - 1, i + 1)) yield [i, ...rest];
}

test("it is the share of the sets of k answers in which one passes", () => {
  for (const n of [1, 2, 5, 7])
    for (let c = 0; c <= n; c++)
      for (let k = 1; k <= n; k++) {
        const all = [...sets(n, k)];
        const passed = all.filter((set) => set.some((answer) => answer < c));
        expect(passAt(k, { n, c })).toBeCloseTo(passed.length / all.length, 12);
      }
});

/** C(n, k). */
function binomial(n: bigint, k: bigint): bigint {
  let value = 1n;
  for (let i = 1n; i <= k; i++) value = (value * (n - k + i)) / i;
  return value;
}

test.each([
  [200, 3, 100],
  [200, 100, 10],
  [2000, 7, 1000],
])("of %i answers %i pass: pass@%i by binomial coefficients", (n, c, k) => {
  const digits = 10n ** 18n;
  const none = (binomial(BigInt(n - c), BigInt(k)) * digits) / binomial(BigInt(n), BigInt(k));
  expect(passAt(k, { n, c })).toBeCloseTo(1 - Number(none) / 1e18, 12);
});

test("none, all, and too few that fail", () => {
  expect(passAt(3, { n: 10, c: 0 })).toBe(0);
  expect(passAt(1, { n: 10, c: 10 })).toBe(1);
  expect(passAt(3, { n: 10, c: 8 })).toBe(1);
});

test("pass@1 is the mean of the means; what is not judged is left out", () => {
  const scores = [
    [1, 0, 0, 0],
    [1, 1, 0.5, 2],
    [null, null, 1, 0],
    [null, null, null, null],
  ];
  const one = passRate(1, scores)!;
  const rates = [1 / 4, 3 / 4, 1 / 2];
  expect(one.value).toBeCloseTo(1 / 2, 12);
  expect(one.problems).toBe(3);
  expect(one.stderr).toBeCloseTo(Math.sqrt(rates.reduce((sum, v) => sum + (v - 1 / 2) ** 2, 0) / 2 / 3), 12);
  expect(passRate(3, scores)).toMatchObject({ problems: 2 });
  expect(passRate(5, scores)).toBeNull();
});
