/** Parts of tensors, and gradients that are stopped. */
import { describe, expect, test } from "bun:test";
import { gradients } from "../../src/autograd/gradients";
import { interpret } from "../../src/autograd/interpret";
import { add, concat, multiply, scale, slice, square } from "../../src/ops";
import { detach, input } from "../../src/tensor/tensor";
import { checkGradient, checkKernels, compare, type Given, type Op, sample } from "../support/oracle";

type Case = [name: string, op: Op, given: (n: number) => Given[]];

const cases: Case[] = [
  ["concat", (...xs) => square(concat(xs)), (n) => [[n], [3], [2 * n + 1]]],
  [
    "concat of rows",
    (...xs) => square(concat(xs)),
    (n) => [
      [n, 5],
      [2, 5],
      [1, 5],
    ],
  ],
  ["concat of the same", (x) => square(concat([x!, scale(x!, 2), x!])), (n) => [[n]]],
  ["slice", (x) => square(slice(x!, { first: 1, count: x!.shape[0]! - 1 })), (n) => [[n + 1]]],
  ["slice of a column", (x) => square(slice(x!, { first: 2, count: x!.shape[0]!, step: 3 })), (n) => [[n, 3]]],
  [
    "two slices, one over the other",
    (x) => multiply(slice(x!, { count: x!.shape[0]! - 1 }), slice(x!, { first: 1, count: x!.shape[0]! - 1 })),
    (n) => [[n + 1]],
  ],
];

describe.each(cases)("%s", (_name, op, given) => {
  test("gradient", () => checkGradient(op, given(6)));
  test.each([1, 16, 17, 32, 33, 67])("kernels at %i", (n) => checkKernels(op, given(n)));
});

test("concat puts its parts in order", () => {
  const [a, b] = [input("a", [2]), input("b", [3])];
  const [y] = interpret(
    [concat([a, b])],
    new Map([
      [a, Float64Array.of(1, 2)],
      [b, Float64Array.of(3, 4, 5)],
    ]),
  );
  expect([...y!]).toEqual([1, 2, 3, 4, 5]);
});

test("ids are sliced word for word, also those that are no floating-point number", () => {
  const ids = input("ids", [4], "u32");
  compare([slice(ids, { first: 1, count: 2, step: 2 })], new Map([[ids, Float64Array.of(9, 7, 8, 0xffff_ffff)]]), 0);
});

test("parts that do not fit are refused", () => {
  expect(() => concat([input("a", [2, 3]), input("b", [2, 4])])).toThrow(
    "concat: a part has shape [2,4], expected [2,3]",
  );
  expect(() => concat([])).toThrow("concat: there are no parts");
  expect(() => concat([input("a", [2], "u32")])).toThrow("concat: a is in u32");
  expect(() => slice(input("x", [2, 3]), { first: 1, count: 3, step: 3 })).toThrow(
    "slice: 3 elements from 1 on by steps of 3 pass the end of [2,3]",
  );
});

test("detach is x, and no gradient flows through it", () => {
  const x = input("x", [5]);
  const y = add(multiply(detach(x), x), square(detach(x)));
  const [dx] = gradients(y, [x]);
  const values = sample(5, 3);
  compare([y, dx!], new Map([[x, values]]), 2e-6);
  expect([...interpret([dx!], new Map([[x, values]]))[0]!]).toEqual([...values]);
  expect(gradients(detach(x), [x])).toEqual([null]);
});
