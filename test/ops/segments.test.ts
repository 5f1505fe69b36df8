/** Rows by id, their sums and means, sorted rows, and cosines. */
import { describe, expect, test } from "bun:test";
import { gradients } from "../../src/autograd/gradients";
import { interpret } from "../../src/autograd/interpret";
import { cosine, IGNORE, ranks, segmentMean, segmentSum, sort, spreadRows, square, takeRows } from "../../src/ops";
import { input, type Tensor } from "../../src/tensor/tensor";
import { checkGradient, checkKernels, compare, type Given, type Op, sample } from "../support/oracle";

/** Ids below `below`, of which every fifth is IGNORE and some are too large. */
const ids = (count: number, below: number): Given => ({
  shape: [count],
  values: Array.from({ length: count }, (_, i) => (i % 5 === 2 ? IGNORE : (i * 7 + (i >> 2)) % (below + 2))),
});

type Case = [name: string, op: Op, given: (n: number) => Given[], tolerance?: number];

const cases: Case[] = [
  ["takeRows", (x, i) => square(takeRows(x!, i!)), (n) => [[5, n], ids(2 * n, 5)], 4e-6],
  ["takeRows of elements", (x, i) => square(takeRows(x!, i!)), (n) => [[n], ids(2 * n, n)], 4e-6],
  ["segmentSum", (x, i) => square(segmentSum(x!, i!, 4)), (n) => [[n, 3], ids(n, 4)], 4e-6],
  ["segmentSum of elements", (x, i) => square(segmentSum(x!, i!, 4)), (n) => [[n], ids(n, 4)], 4e-6],
  ["segmentMean", (x, i) => square(segmentMean(x!, i!, 4)), (n) => [[n, 3], ids(n, 4)], 4e-6],
  ["segmentMean of elements", (x, i) => square(segmentMean(x!, i!, 4)), (n) => [[n], ids(n, 4)], 4e-6],
  ["spreadRows", (x) => square(spreadRows(x!, 5, 0.5)), (n) => [[n]], 4e-6],
  ["sort", (x) => square(sort(x!)), (n) => [[3, n]]],
  [
    "cosine",
    (a, b) => cosine(a!, b!),
    (n) => [
      [n, 9],
      [n, 9],
    ],
    4e-6,
  ],
];

describe.each(cases)("%s", (_name, op, given, tolerance) => {
  test("gradient", () => checkGradient(op, given(6)));
  test.each([1, 16, 17, 32, 33, 67])("kernels at %i", (n) => checkKernels(op, given(n), tolerance));
});

/** The op's value and the gradient of x, which every device is held to. */
function valueAndGradient(
  op: (x: Tensor) => Tensor,
  shape: readonly number[],
  values: readonly number[],
  fed = new Map<Tensor, Float64Array>(),
) {
  const x = input("x", shape);
  const y = op(x);
  const outputs = [y, gradients(y, [x])[0]!];
  const feeds = new Map([...fed, [x, Float64Array.from(values)]]);
  compare(outputs, feeds, 2e-6);
  return interpret(outputs, feeds).map((v) => [...v]);
}

describe("ids", () => {
  const segments = input("segments", [5], "u32");
  const fed = new Map([[segments, Float64Array.of(2, IGNORE, 0, 2, 4)]]);
  test("that are IGNORE or too large count for nothing, and segments may be empty", () => {
    const [sums, slope] = valueAndGradient((x) => segmentSum(x, segments, 3), [5], [1, 2, 3, 4, 5], fed);
    expect(sums).toEqual([3, 0, 5]);
    expect(slope).toEqual([1, 0, 1, 1, 0]);
  });
  test("means are of what is there", () => {
    const [means, slope] = valueAndGradient((x) => segmentMean(x, segments, 3), [5], [1, 2, 3, 4, 5], fed);
    expect(means).toEqual([3, 0, 2.5]);
    expect(slope).toEqual([0.5, 0, 1, 0.5, 0]);
  });
  test("rows that are not there are zeros, and rows that nobody takes get no gradient", () => {
    const [rows, slope] = valueAndGradient((x) => takeRows(x, segments), [3, 2], [1, 2, 3, 4, 5, 6], fed);
    expect(rows).toEqual([5, 6, 0, 0, 1, 2, 5, 6, 0, 0]);
    expect(slope).toEqual([1, 1, 0, 0, 2, 2]);
  });
});

describe("order", () => {
  test("equals keep theirs, and 0 is -0", () => {
    const x = input("x", [2, 5]);
    const feeds = new Map([[x, Float64Array.of(3, 1, 3, -1, 1, 0, -2, -0, 0, -7)]]);
    compare([ranks(x)], feeds, 0);
    expect([...interpret([ranks(x)], feeds)[0]!]).toEqual([3, 1, 4, 0, 2, 2, 1, 3, 4, 0]);
  });
  test("of a long row is that of its numbers", () => {
    const values = sample(2000, 4).map((v) => Math.round(v * 300));
    const x = input("x", [2, 1000]);
    compare([sort(x)], new Map([[x, values]]), 0);
    const [y] = interpret([sort(x)], new Map([[x, values]]));
    expect(y!.subarray(0, 1000)).toEqual(values.slice(0, 1000).sort());
  });
});

describe("cosine", () => {
  test("is 1, -1 or 0, and 0 of nothing", () => {
    const b = input("b", [4, 2]);
    const fed = new Map([[b, Float64Array.of(2, 4, -3, -6, 2, -1, 1, 1)]]);
    const [y, slope] = valueAndGradient((a) => cosine(a, b), [4, 2], [1, 2, 1, 2, 1, 2, 3, 3], fed);
    [1, -1, 0, 1].forEach((v, i) => {
      expect(y![i]).toBeCloseTo(v, 12);
    });
    // At right angles it changes by b / (|a| |b|).
    expect(slope![4]).toBeCloseTo(0.4, 12);
    expect(slope![5]).toBeCloseTo(-0.2, 12);
    const [none] = valueAndGradient((a) => cosine(a, b), [4, 2], [0, 0, 0, 0, 0, 0, 0, 0], fed);
    expect(none).toEqual([0, 0, 0, 0]);
  });
});
