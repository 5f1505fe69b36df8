/** Losses of pairs against a table in float64 with its derivatives, worked out from the formulas of TRL 1.13, and at the first step. */
import { describe, expect, test } from "bun:test";
import { gradients } from "../../src/autograd/gradients";
import { interpret } from "../../src/autograd/interpret";
import { type PairLossName, type PairOptions, pairLoss, pairLosses } from "../../src/model/pair-losses";
import { sum } from "../../src/ops";
import { input } from "../../src/tensor/tensor";
import { compare } from "../support/oracle";

const usual: PairOptions = { beta: 0.1, labelSmoothing: 0, divergence: "reverse_kl", alpha: 0.5, tau: 0.05 };

const names = ["chosen", "chosen reference", "chosen lengths", "rejected", "rejected reference", "rejected lengths"];

/** The loss of some pairs, and its gradients by the log-probabilities of both sides. */
function lossOf(name: PairLossName, options: Partial<PairOptions>, pairs: number) {
  const [c, cr, cl, r, rr, rl] = names.map((name) => input(name, [pairs])) as [
    ReturnType<typeof input>,
    ReturnType<typeof input>,
    ReturnType<typeof input>,
    ReturnType<typeof input>,
    ReturnType<typeof input>,
    ReturnType<typeof input>,
  ];
  const chosen = { logProbs: c, reference: cr, lengths: cl };
  const rejected = { logProbs: r, reference: rr, lengths: rl };
  const weights = input("weights", [pairs]);
  const meanLength = input("mean length", [1]);
  const loss = pairLoss(name, { chosen, rejected, weights, meanLength }, { ...usual, ...options });
  // sft has none by the rejected side.
  const grads = gradients(sum(loss), [c, r]).flatMap((grad) => grad ?? []);
  const feeds = (values: readonly (readonly number[])[], count = pairs) =>
    new Map([
      ...[c, cr, cl, r, rr, rl].map((tensor, i) => [tensor, Float64Array.from(values[i]!)] as const),
      [weights, Float64Array.from({ length: pairs }, (_, i) => (i < count ? 1 / count : 0))],
      [meanLength, Float64Array.of(values[2]!.slice(0, count).reduce((a, b) => a + b) / count)],
    ]);
  return { outputs: [loss, ...grads], feeds };
}

/** One pair with these log-ratios and lengths. */
const pair = (a: number, b: number, long: number, other: number) => [[a - 7], [-7], [long], [b - 9], [-9], [other]];

describe("each pair's loss, and its slopes by both sides", () => {
  const smooth = { labelSmoothing: 0.1 };
  const table: [PairLossName, Partial<PairOptions>, number[]][] = [
    ["sigmoid", {}, [0.43748795, -0.035434369, 0.035434369, 0.798138869, -0.0549834, 0.0549834]],
    ["sigmoid", smooth, [0.49748795, -0.025434369, 0.025434369, 0.778138869, -0.0449834, 0.0449834]],
    ["hinge", {}, [0.4, -0.1, 0.1, 1.2, -0.1, 0.1]],
    ["ipo", {}, [10.671111111, -1.306666667, 2.177777778, 29.56640625, -2.71875, 1.359375]],
    [
      "exo_pair",
      { labelSmoothing: 1e-3 },
      [1.798271334, -0.14428861, 0.14428861, 3.110397019, -0.175903959, 0.175903959],
    ],
    ["nca_pair", {}, [1.25371593, -0.0175249, 0.020065617, 1.440665396, -0.030614477, 0.02562487]],
    ["robust", smooth, [0.36248795, -0.047934369, 0.047934369, 0.823138869, -0.0674834, 0.0674834]],
    ["bco_pair", {}, [1.111154122, -0.0450166, 0.040131234, 1.489416696, -0.053742985, 0.05124974]],
    ["sppo_hard", {}, [10, -6, 2, 72.5, -13, 11]],
    ["apo_zero", {}, [0.851478343, -0.024751657, 0.024026075, 1.049927242, -0.024859901, 0.024984382]],
    ["apo_down", {}, [0.904177691, 0.001873233, 0.022878424, 1.012404152, 0.000108243, 0.024751657]],
    ["discopop", {}, [0.548810952, -0.054879676, 0.054879676, 0.805751783, -0.041239326, 0.041239326]],
    ["sigmoid_norm", {}, [0.610231377, -0.009135497, 0.015225828, 0.715261419, -0.012773394, 0.006386697]],
    [
      "sigmoid",
      { divergence: "forward_kl" },
      [0.004303039, -0.00005811, 0.023443322, 0.905559879, -0.266967292, 0.036130094],
    ],
    [
      "ipo",
      { divergence: "forward_kl" },
      [170.015076485, 0.705853781, -474.602898416, 35.041734427, -13.26491661, 0.897605623],
    ],
    [
      "sigmoid",
      { divergence: "js_divergence" },
      [0.517394876, -0.004814947, 0.039666349, 0.756395758, -0.043384177, 0.020034005],
    ],
    [
      "ipo",
      { divergence: "js_divergence" },
      [14.276472183, -0.180159573, 2.473641618, 27.872595459, -2.158171906, 0.498301799],
    ],
    [
      "sigmoid",
      { divergence: "alpha_divergence" },
      [0.219581015, -0.007252555, 0.145671464, 0.835894393, -0.119930888, 0.044120108],
    ],
    [
      "ipo",
      { divergence: "alpha_divergence" },
      [0.237930347, -0.071777847, 2.402827665, 31.514748335, -5.942207148, 1.093007923],
    ],
  ];
  test.each(table)("%s %o", (name, options, wanted) => {
    const { outputs, feeds } = lossOf(name, options, 1);
    const got = [pair(2, -4, 5, 3), pair(-1.5, 0.5, 4, 8)].flatMap((values) =>
      interpret(outputs, feeds(values)).map(([value]) => value!),
    );
    got.forEach((value, i) => {
      expect(Math.abs(value - wanted[i]!)).toBeLessThan(1e-9 * Math.max(1, Math.abs(wanted[i]!)));
    });
  });
});

describe("where policy and reference are one", () => {
  const ln2 = Math.LN2;
  const first: [PairLossName, Partial<PairOptions>, number][] = [
    ["sigmoid", {}, ln2],
    ["hinge", {}, 1],
    ["ipo", {}, 25],
    ["exo_pair", { labelSmoothing: 1e-3 }, 2.761231],
    ["nca_pair", {}, 2 * ln2],
    ["robust", { labelSmoothing: 0.2 }, ln2],
    ["bco_pair", {}, 2 * ln2],
    ["sppo_hard", {}, 50],
    ["aot", {}, ln2],
    ["aot_unpaired", {}, ln2],
    ["apo_zero", {}, 1],
    ["apo_down", {}, 1],
    ["discopop", {}, 0.846574],
    ["sigmoid_norm", {}, ln2],
    ["sigmoid", { divergence: "forward_kl" }, ln2],
    ["ipo", { divergence: "js_divergence" }, 25],
    ["sigmoid", { divergence: "alpha_divergence" }, ln2],
  ];
  test.each(first)("%s %o begins at %d", (name, options, wanted) => {
    const { outputs, feeds } = lossOf(name, options, 3);
    const values = [-3, -8, -2];
    const [losses] = interpret(outputs, feeds([values, values, [4, 9, 2], [-5, -1, -6], [-5, -1, -6], [3, 3, 7]]));
    for (const loss of losses!) expect(Math.abs(loss - wanted)).toBeLessThan(1e-6);
  });
  test("every loss but sft has such a number", () => {
    expect(new Set([...first.map(([name]) => name), "sft"])).toEqual(new Set(Object.keys(pairLosses)));
  });
});

test("sft is the mean over all tokens of the chosen sides", () => {
  const { outputs, feeds } = lossOf("sft", {}, 2);
  const [losses] = interpret(
    outputs,
    feeds([
      [-6, -1],
      [0, 0],
      [5, 2],
      [-9, -9],
      [0, 0],
      [1, 1],
    ]),
  );
  expect((losses![0]! + losses![1]!) / 2).toBeCloseTo(7 / 7, 12);
});

test("aot sorts margins over the batch, and its gradients go back to where they came from", () => {
  const { outputs, feeds } = lossOf("aot", {}, 3);
  // Margins 5, -1, 2 of the policy and 0, 3, 1 of the reference: -1 goes with 0, 2 with 1, 5 with 3.
  const fed = feeds([
    [5, -1, 2],
    [0, 3, 1],
    [1, 1, 1],
    [0, 0, 0],
    [0, 0, 0],
    [1, 1, 1],
  ]);
  const [losses, chosen] = interpret(outputs, fed);
  const softplus = (x: number) => Math.log1p(Math.exp(-0.1 * x));
  const wanted = [softplus(2), softplus(1), softplus(-1)];
  [...losses!].sort().forEach((loss, i) => {
    expect(loss).toBeCloseTo(wanted[i]!, 12);
  });
  const slope = (x: number) => -0.1 / (1 + Math.exp(0.1 * x));
  [slope(2), slope(-1), slope(1)].forEach((wanted, i) => {
    expect(chosen![i]!).toBeCloseTo(wanted, 12);
  });
});

test.each(Object.keys(pairLosses) as PairLossName[])("%s: its kernels compute what it means", (name) => {
  const { outputs, feeds } = lossOf(name, { labelSmoothing: 0.1 }, 5);
  const side = (shift: number) => [0, 1, 2, 3, 4].map((i) => -4 - shift + 3 * Math.sin(5 * i + shift));
  const lengths = [3, 9, 1, 6, 4];
  compare(outputs, feeds([side(0), side(1), lengths, side(2), side(3), [...lengths].reverse()]), 1e-5);
});

test.each(["aot", "aot_unpaired"] as const)("%s: places without a pair change nothing", (name) => {
  const values = [
    [5, -1, 2],
    [0, 3, 1],
    [1, 1, 1],
    [-2, 4, 0],
    [0, 0, 0],
    [1, 1, 1],
  ];
  const alone = lossOf(name, {}, 3);
  const [wanted] = interpret(alone.outputs, alone.feeds(values));
  const among = lossOf(name, {}, 5);
  const empty = (i: number) => (i % 3 === 2 ? 1 : 0);
  const [found] = interpret(
    among.outputs,
    among.feeds(
      values.map((row, i) => [...row, empty(i), empty(i)]),
      3,
    ),
  );
  expect([...found!.slice(0, 3)]).toEqual([...wanted!]);
});
