/** The functions that losses are made of: their rules, their kernels, and what they are at their edges. */
import { describe, expect, test } from "bun:test";
import { gradients } from "../../src/autograd/gradients";
import { interpret } from "../../src/autograd/interpret";
import { Program } from "../../src/autograd/program";
import {
  above,
  abs,
  add,
  atMost,
  clamp,
  divide,
  exp,
  inside,
  log,
  logSigmoid,
  maximum,
  minimum,
  multiply,
  relu,
  scale,
  shift,
  sigmoid,
  sign,
  sqrt,
  square,
  subtract,
} from "../../src/ops";
import { input, type Tensor } from "../../src/tensor/tensor";
import { device } from "../support/device";
import { checkGradient, checkKernels, type Given, kernelForms, type Op } from "../support/oracle";

const one = (n: number): Given[] => [[3, n]];
const two = (n: number): Given[] => [
  [3, n],
  [3, n],
];
/** Numbers in [1.5, 3.5). */
const positive = (x: Tensor) => shift(x, 2.5);

type Case = [name: string, op: Op, given: (n: number) => Given[], tolerance?: number];

const cases: Case[] = [
  ["scale", (x) => scale(x!, -2.5), one],
  ["scale by a tensor", (x, by) => scale(x!, by!), (n) => [[3, n], [1]], 4e-6],
  ["shift", (x) => shift(x!, -2.5), one],
  ["exp", (x) => exp(scale(x!, 5)), one, 4e-6],
  ["log", (x) => log(positive(x!)), one],
  ["sigmoid", (x) => sigmoid(scale(x!, 9)), one],
  ["logSigmoid", (x) => logSigmoid(scale(x!, 9)), one],
  ["relu", (x) => relu(x!), one],
  ["square", (x) => square(x!), one],
  ["sqrt", (x) => sqrt(positive(x!)), one],
  ["abs", (x) => abs(x!), one],
  ["clamp", (x) => clamp(x!, -0.3, 0.6), one],
  ["add a scalar", (a, b) => add(a!, b!), (n) => [[3, n], [1]], 1e-5],
  ["subtract", (a, b) => subtract(a!, b!), two],
  ["subtract from a scalar", (a, b) => subtract(a!, b!), (n) => [[1], [3, n]], 1e-5],
  ["multiply", (a, b) => multiply(a!, b!), two],
  ["divide", (a, b) => divide(a!, positive(b!)), two, 4e-6],
  ["divide by a scalar", (a, b) => divide(a!, positive(b!)), (n) => [[3, n], [1]], 4e-6],
  ["minimum", (a, b) => minimum(a!, b!), two],
  ["maximum", (a, b) => maximum(a!, b!), two],
  ["maximum with a scalar", (a, b) => maximum(a!, b!), (n) => [[3, n], [1]], 4e-6],
  ["the negative log-sigmoid of a difference", (a, b) => scale(logSigmoid(scale(subtract(a!, b!), 0.1)), -1), two],
];

describe.each(cases)("%s", (_name, op, given, tolerance) => {
  test("gradient", () => checkGradient(op, given(6)));
  test.each([1, 16, 17, 32, 33, 67])("kernels at %i", (n) => checkKernels(op, given(n), tolerance));
});

/** What an op and the gradient of its first input are in float64, and on each device. */
function everywhere(op: Op, ...values: number[][]): { form: string; y: number[]; dx: number[] }[] {
  const xs = values.map((v, i) => input(`x${i}`, [v.length]));
  const y = op(...xs);
  const dx = gradients(y, [xs[0]!])[0] ?? scale(xs[0]!, 0);
  const exact = interpret([y, dx], new Map(xs.map((x, i) => [x, Float64Array.from(values[i]!)])));
  const found = [{ form: "float64", y: [...exact[0]!], dx: [...exact[1]!] }];
  for (const [form, on] of Object.entries(kernelForms())) {
    using program = new Program(on, [y, dx]);
    xs.forEach((x, i) => {
      if (program.plan.places.has(x)) program.feed(x, Float32Array.from(values[i]!));
    });
    program.run();
    found.push({ form, y: [...program.read(y)], dx: [...program.read(dx)] });
  }
  return found;
}

/** Each number right to a part in 200,000, however small. */
function expectClose(got: readonly number[], wanted: readonly number[], form: string): void {
  expect(got.length).toBe(wanted.length);
  got.forEach((v, i) => {
    expect(Math.abs(v - wanted[i]!), `${form}: ${v}, wanted ${wanted[i]}`).toBeLessThanOrEqual(
      5e-6 * Math.abs(wanted[i]!),
    );
  });
}

describe("extremes", () => {
  test("exp", () => {
    const x = [-80, -20, -1, 0, 1, 20, 88];
    for (const { form, y } of everywhere((x) => exp(x!), x)) {
      expectClose(y.slice(1, 6), x.slice(1, 6).map(Math.exp), form);
      y.forEach((v, i) => {
        expect(v / Math.exp(x[i]!), form).toBeCloseTo(1, 4);
      });
    }
  });
  test("log", () => {
    const x = [
      1.2e-38, 1e-30, 1e-7, 0.5, 0.7, 0.7072, 0.999, 0.9999999, 1, 1.0000001, 1.001, 1.25, 2, 1e30, 3.4e38,
    ].map(Math.fround);
    for (const { form, y } of everywhere((x) => log(x!), x)) expectClose(y, x.map(Math.log), form);
  });
  test("log on the CPU, of subnormal numbers, and where there is none", () => {
    const x = [1e-40, 1.4e-45, 0, Number.POSITIVE_INFINITY].map(Math.fround);
    const [, { y }] = everywhere((x) => log(x!), x) as [unknown, { y: number[] }];
    expectClose(y.slice(0, 2), x.slice(0, 2).map(Math.log), "the CPU");
    expect(y.slice(2)).toEqual([Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY]);
    const [, below] = everywhere((x) => log(x!), [-1, -1e-40]) as [unknown, { y: number[] }];
    expect(below.y).toEqual([Number.NaN, Number.NaN]);
  });
  test("logSigmoid and its gradient", () => {
    // log(1 / (1 + e^-x)) is x for very negative x and -e^-x for large x, and so is its slope 1 or e^-x.
    for (const { form, y, dx } of everywhere((x) => logSigmoid(x!), [-1000, -80, 0, 20, 200])) {
      expectClose(y.slice(0, 4), [-1000, -80, -Math.LN2, -Math.exp(-20)], form);
      expectClose(dx.slice(0, 4), [1, 1, 0.5, Math.exp(-20)], form);
      expect(Math.abs(y[4]!), form).toBeLessThan(1.3e-38);
      expect(Math.abs(dx[4]!), form).toBeLessThan(1.3e-38);
    }
  });
  test("sigmoid and its gradient", () => {
    for (const { form, y, dx } of everywhere((x) => sigmoid(x!), [-1000, -20, 0, 20, 1000])) {
      expectClose(y.slice(1), [Math.exp(-20), 0.5, 1, 1], form);
      expectClose(dx.slice(1, 4), [Math.exp(-20), 0.25, Math.exp(-20)], form);
      expect(y[0]!, form).toBeLessThan(1.3e-38);
      expect(dx[4]!, form).toBeLessThan(1.3e-38);
    }
  });
});

describe("edges", () => {
  const table: [string, Op, number[][], y: number[], dx: number[]][] = [
    [
      "clamp passes gradients at both limits",
      (x) => clamp(x!, -1, 2),
      [[-2, -1, 0, 2, 3]],
      [-1, -1, 0, 2, 2],
      [0, 1, 1, 1, 0],
    ],
    ["relu has none at 0", (x) => relu(x!), [[-1, 0, 1]], [0, 0, 1], [0, 0, 1]],
    ["abs has none at 0", (x) => abs(x!), [[-2, 0, 2]], [2, 0, 2], [-1, 0, 1]],
    [
      "minimum chooses the first of equals",
      (a, b) => minimum(a!, b!),
      [
        [1, 2, 3],
        [2, 2, 2],
      ],
      [1, 2, 2],
      [1, 1, 0],
    ],
    [
      "its second gets nothing then",
      (b, a) => minimum(a!, b!),
      [
        [1, 2, 3],
        [2, 2, 2],
      ],
      [1, 2, 2],
      [1, 0, 0],
    ],
    [
      "maximum chooses the first of equals",
      (a, b) => maximum(a!, b!),
      [
        [1, 2, 3],
        [2, 2, 2],
      ],
      [2, 2, 3],
      [0, 1, 1],
    ],
    [
      "its second gets nothing either",
      (b, a) => maximum(a!, b!),
      [
        [1, 2, 3],
        [2, 2, 2],
      ],
      [2, 2, 3],
      [0, 0, 1],
    ],
    ["a scalar gets the sum", (s, x) => multiply(x!, s!), [[3], [1, 2, 4]], [3, 6, 12], [7]],
    ["a scalar that was chosen gets the sum", (s, x) => maximum(x!, s!), [[3], [1, 2, 4]], [3, 3, 4], [2]],
    ["sign", (x) => sign(x!), [[-2, 0, 3]], [-1, 0, 1], [0, 0, 0]],
    ["inside", (x) => inside(x!, -1, 1), [[-2, -1, 0, 1, 1.5]], [0, 1, 1, 1, 0], [0, 0, 0, 0, 0]],
    ["atMost", (a, b) => atMost(a!, b!), [[1, 2, 3], [2]], [1, 1, 0], [0, 0, 0]],
    ["above", (a, b) => above(a!, b!), [[1, 2, 3], [2]], [0, 0, 1], [0, 0, 0]],
  ];
  test.each(table)("%s", (_name, op, values, wanted, slope) => {
    for (const { form, y, dx } of everywhere(op, ...values)) {
      // 0 and -0 are the same number.
      expect(
        y.map((v) => v + 0),
        form,
      ).toEqual(wanted);
      expect(
        dx.map((v) => v + 0),
        form,
      ).toEqual(slope);
    }
  });
  test("shapes that do not fit are refused", () => {
    expect(() => multiply(input("a", [2, 3]), input("b", [3]))).toThrow("multiply: b has shape [3], expected [2,3]");
    expect(() => add(input("a", [2, 3]), input("b", [3]))).toThrow("add: b has shape [3], expected [2,3]");
  });
});

describe("NaN in, NaN out", () => {
  const whole = (x: Tensor, op: (a: Tensor, b: Tensor) => Tensor) => op(x, input("b", [6]));
  const table: [string, (x: Tensor) => Tensor][] = [
    ["exp", exp],
    ["log", log],
    ["sigmoid", sigmoid],
    ["logSigmoid", logSigmoid],
    ["relu", relu],
    ["sqrt", sqrt],
    ["abs", abs],
    ["sign", sign],
    ["clamp", (x) => clamp(x, -1, 1)],
    ["minimum", (x) => whole(x, minimum)],
    ["maximum", (x) => whole(x, maximum)],
    ["maximum, second", (x) => whole(x, (a, b) => maximum(b, a))],
    ["divide", (x) => whole(x, divide)],
  ];
  test.each(table)("%s", (_name, op) => {
    const x = input("x", [6]);
    const y = op(x);
    using program = new Program(device("cpu"), [y]);
    for (const node of program.plan.nodes)
      if (node.inputs.length === 0) program.feed(node, Float32Array.of(1, Number.NaN, 1, 1, 1, Number.NaN));
    program.run();
    expect([...program.read(y)].map(Number.isNaN)).toEqual([false, true, false, false, false, true]);
  });
});
