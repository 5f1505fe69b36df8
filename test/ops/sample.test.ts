/** Sampling: the device draws the token that the float64 meaning draws, or one whose share of the draw touches it. */
import { describe, expect, test } from "bun:test";
import { Program } from "../../src/autograd/program";
import { NO_SLOT, sample as sampleOp, scale } from "../../src/ops";
import { WRITTEN } from "../../src/ops/count";
import { randomAt } from "../../src/ops/random";
import { keptMasses, NOT_FINITE } from "../../src/ops/sample";
import { input } from "../../src/tensor/tensor";
import { device } from "../support/device";
import { checkForward, kernelForms, sample } from "../support/oracle";

interface Given {
  readonly logits: Float64Array;
  readonly counts: Float64Array;
  readonly settings: readonly number[];
  readonly rows: number;
  readonly bias?: Float64Array;
}

/** Draws `draws` tokens for each row on the device. */
function draw(
  { logits, counts, settings, rows, bias = new Float64Array(logits.length / rows) }: Given,
  draws: number,
  on = device(),
): number[][] {
  const V = logits.length / rows;
  const x = input("x", [rows, V]);
  const c = input("counts", [rows, V], "u32");
  const s = input("settings", [rows, 7]);
  const b = input("bias", [rows, V]);
  const streams = input("streams", [rows, 3], "u32");
  const tokens = sampleOp(x, { counts: c, settings: s, bias: b, streams });
  using program = new Program(on, [tokens]);
  program.feed(x, Float32Array.from(logits));
  program.feed(c, Uint32Array.from(counts));
  program.feed(s, Float32Array.from(Array.from({ length: rows }, () => settings).flat()));
  program.feed(b, Float32Array.from(Array.from({ length: rows }, () => [...bias]).flat()));
  return Array.from({ length: draws }, (_, i) => {
    program.feed(streams, Uint32Array.from(Array.from({ length: rows }, (_, row) => [row, 1000 + row, i]).flat()));
    program.run();
    return [...program.read(tokens, new Uint32Array(rows))];
  });
}

const cases: [string, number[]][] = [
  ["plain", [1, 0, 1, 0, 1, 0, 0]],
  ["hot", [2.5, 0, 1, 0, 1, 0, 0]],
  ["top-k 1", [1, 1, 1, 0, 1, 0, 0]],
  ["top-k 5", [0.7, 5, 1, 0, 1, 0, 0]],
  ["top-p 0.5", [1, 0, 0.5, 0, 1, 0, 0]],
  ["top-k 20 and top-p 0.8", [1.3, 20, 0.8, 0, 1, 0, 0]],
  ["min-p 0.2", [1, 0, 1, 0.2, 1, 0, 0]],
  ["repetition penalty", [1, 10, 1, 0, 1.8, 0, 0]],
  ["presence penalty", [1, 10, 1, 0, 1, 1.5, 0]],
  ["frequency penalty", [0.8, 0, 0.9, 0, 1, 0, 0.7]],
  ["all penalties", [1, 0, 1, 0, 1.3, 0.5, -0.4]],
  ["greedy", [0, 0, 1, 0, 1, 0, 0]],
  ["greedy with a penalty", [0, 0, 1, 0, 1.5, 0, 0]],
];

describe.each([1, 7, 300])("a vocabulary of %i", (V) => {
  const rows = 3;
  const logits = sample(rows * V, V).map((v) => Math.fround(4 * v));
  const counts = Float64Array.from({ length: rows * V }, (_, i) => (i % 4 === 0 ? (i % 3) + WRITTEN * (i % 5) : 0));
  const bias = sample(V, 5).map((v, c) => (c % 3 === 0 ? Math.fround(2 * v) : 0));
  test.each(cases)("%s", (_name, settings) => {
    const rounded = settings.map(Math.fround);
    const drawn = Object.values(kernelForms()).flatMap((on) => draw({ logits, counts, settings, rows, bias }, 6, on));
    drawn.forEach((tokens, i) => {
      const counter = i % 6;
      tokens.forEach((token, b) => {
        const row = (values: Float64Array) => values.subarray(b * V, (b + 1) * V);
        const masses = keptMasses({
          logits: row(logits),
          counts: row(counts),
          settings: Float64Array.from(rounded),
          bias,
        });
        const total = masses.reduce((a, m) => a + m, 0);
        const before = masses.slice(0, token).reduce((a, m) => a + m, 0);
        expect(masses[token]!).toBeGreaterThan(0);
        if (settings[0] === 0) return;
        const aim = randomAt(1000 + b, 0, counter) * total;
        expect(aim).toBeGreaterThanOrEqual(before - 1e-5 * total);
        expect(aim).toBeLessThanOrEqual(before + masses[token]! + 1e-5 * total);
      });
    });
  });
});

test("draws follow the probabilities", () => {
  const probabilities = [0.5, 0.25, 0.15, 0.1];
  const given = {
    logits: Float64Array.from(probabilities, Math.log),
    counts: new Float64Array(4),
    settings: [1, 0, 1, 0, 1, 0, 0],
    rows: 1,
  };
  const found = [0, 0, 0, 0];
  const draws = 2000;
  for (const [token] of draw(given, draws)) found[token!]!++;
  probabilities.forEach((p, i) => {
    // Four standard deviations of a binomial share.
    expect(Math.abs(found[i]! / draws - p)).toBeLessThan(4 * Math.sqrt((p * (1 - p)) / draws));
  });
});

describe("a logit that is not finite", () => {
  const V = 300;
  const settings: readonly (readonly number[])[] = [
    [1, 0, 1, 0, 1, 0, 0],
    [0, 5, 0.9, 0.1, 1.5, 0.5, 0.5],
  ];
  const tokens = (logits: Float64Array, own: readonly number[], bias?: Float64Array) =>
    Object.values(kernelForms()).map((on) => {
      const given = { logits, counts: new Float64Array(2 * V), settings: own, rows: 2, ...(bias && { bias }) };
      return draw(given, 1, on)[0]!;
    });
  test.each([Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY])(
    "%d leaves its row without a token",
    (bad) => {
      for (const own of settings)
        for (const at of [0, 7, V - 1]) {
          const logits = sample(2 * V, 3);
          logits[V + at] = bad;
          for (const [whole, broken] of tokens(logits, own)) {
            expect(whole).toBeLessThan(V);
            expect(broken).toBe(NOT_FINITE);
          }
        }
    },
  );
  test("is one too where it becomes so by bias or temperature", () => {
    const bias = new Float64Array(V);
    bias[V - 2] = Number.POSITIVE_INFINITY;
    for (const found of tokens(sample(2 * V, 3), settings[0]!, bias)) expect(found).toEqual([NOT_FINITE, NOT_FINITE]);
    const large = sample(2 * V, 3).map((v) => Math.fround(3e38 * v));
    for (const found of tokens(large, [0.01, 0, 1, 0, 1, 0, 0])) expect(found).toEqual([NOT_FINITE, NOT_FINITE]);
    for (const found of tokens(large, [1, 0, 1, 0, 1, 0, 0])) expect(found).not.toContain(NOT_FINITE);
  });
});

test("each row is drawn by the settings, counts and bias of its own slot", () => {
  const [R, S, V] = [4, 3, 33];
  const settings = [
    [0, 0, 1, 0, 1, 0, 0],
    [1.5, 9, 0.9, 0, 1.3, 0.5, 0.5],
    [0.6, 0, 1, 0.1, 1, 0, 0],
  ].flat();
  const counts = Array.from({ length: S * V }, (_, i) => (i % 5 === 0 ? 1 + WRITTEN * (i % 3) : 0));
  const streams = [2, 5, 0, NO_SLOT, 6, 1, 0, 7, 2, 1, 8, 70000];
  checkForward(
    (x, counts, settings, bias, streams) =>
      sampleOp(scale(x!, 6), { counts: counts!, settings: settings!, bias: bias!, streams: streams! }),
    [
      [R, V],
      { shape: [S, V], values: counts },
      { shape: [S, 7], values: settings, dtype: "f32" },
      [S, V],
      { shape: [R, 3], values: streams },
    ],
    0,
  );
});
