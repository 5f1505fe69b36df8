/** Functions of each element, of which losses are made: each is a line of meaning and of gradient here, and a line in each kernel. */
import source from "../../kernels/elementwise.wgsl" with { type: "text" };
import { linear } from "../device/device";
import { expectShape, type Shape, sameShape, sizeOf } from "../tensor/shape";
import { type Launch, type Tensor, tensor } from "../tensor/tensor";
import { sum } from "./reduce";

interface Unary {
  readonly value: (x: number, p: number, q: number) => number;
  /** The gradient of x, given that of y. `null`: y does not change with x, but where it jumps. */
  readonly gradient: ((grad: Tensor, x: Tensor, y: Tensor, p: number, q: number) => Tensor) | null;
}

interface Binary {
  readonly value: (a: number, b: number) => number;
  /** The gradients of a and b, as if both were of y's shape. */
  readonly gradient: ((grad: Tensor, a: Tensor, b: Tensor, y: Tensor) => readonly [Tensor, Tensor]) | null;
}

const sigmoidValue = (x: number) => 1 / (1 + Math.exp(-x));

/** The kernels know an operation by its place in its list. */
const unaries = {
  scale: { value: (x, p) => x * p, gradient: (grad, _x, _y, p) => scale(grad, p) },
  shift: { value: (x, p) => x + p, gradient: (grad) => grad },
  exp: { value: Math.exp, gradient: (grad, _x, y) => multiply(grad, y) },
  log: { value: Math.log, gradient: (grad, x) => divide(grad, x) },
  // 1 - y would be lost beside 1: the sigmoid of -x is not.
  sigmoid: { value: sigmoidValue, gradient: (grad, x, y) => multiply(multiply(grad, y), sigmoid(scale(x, -1))) },
  logSigmoid: {
    value: (x) => Math.min(x, 0) - Math.log1p(Math.exp(-Math.abs(x))),
    gradient: (grad, x) => multiply(grad, sigmoid(scale(x, -1))),
  },
  relu: { value: (x) => Math.max(x, 0), gradient: (grad, _x, y) => multiply(grad, sign(y)) },
  square: { value: (x) => x * x, gradient: (grad, x) => scale(multiply(grad, x), 2) },
  sqrt: { value: Math.sqrt, gradient: (grad, _x, y) => divide(scale(grad, 0.5), y) },
  abs: { value: Math.abs, gradient: (grad, x) => multiply(grad, sign(x)) },
  sign: { value: Math.sign, gradient: null },
  clamp: {
    value: (x, low, high) => Math.min(Math.max(x, low), high),
    gradient: (grad, x, _y, low, high) => multiply(grad, inside(x, low, high)),
  },
  inside: { value: (x, low, high) => Number(x >= low && x <= high), gradient: null },
} satisfies Record<string, Unary>;

const binaries = {
  add: { value: (a, b) => a + b, gradient: (grad) => [grad, grad] },
  subtract: { value: (a, b) => a - b, gradient: (grad) => [grad, scale(grad, -1)] },
  multiply: { value: (a, b) => a * b, gradient: (grad, a, b) => [multiply(grad, b), multiply(grad, a)] },
  divide: {
    value: (a, b) => a / b,
    gradient: (grad, _a, b, y) => [divide(grad, b), scale(multiply(divide(grad, b), y), -1)],
  },
  // The gradient goes to the one that was chosen; to a where they are equal.
  minimum: {
    value: Math.min,
    gradient: (grad, a, b) => [multiply(grad, atMost(a, b)), multiply(grad, above(a, b))],
  },
  maximum: {
    value: Math.max,
    gradient: (grad, a, b) => [multiply(grad, atMost(b, a)), multiply(grad, above(b, a))],
  },
  atMost: { value: (a, b) => Number(a <= b), gradient: null },
  above: { value: (a, b) => Number(a > b), gradient: null },
} satisfies Record<string, Binary>;

/** x times a number, or times a tensor of one element. */
export function scale(x: Tensor, by: number | Tensor): Tensor {
  const factor = typeof by === "number" ? by : by.constant;
  if (factor === undefined) return multiply(x, by as Tensor);
  return factor === 1 ? x : unary("scale", x, factor);
}

/** x + a number. */
export const shift = (x: Tensor, by: number): Tensor => unary("shift", x, by);
/** On the CPU device it ends at 3.2e38, at x = 88.6; below x = -87.3 it stays at 1.2e-38. */
export const exp = (x: Tensor): Tensor => unary("exp", x);
/** The natural logarithm. */
export const log = (x: Tensor): Tensor => unary("log", x);
export const sigmoid = (x: Tensor): Tensor => unary("sigmoid", x);
/** log(sigmoid(x)), right for any x. */
export const logSigmoid = (x: Tensor): Tensor => unary("logSigmoid", x);
/** max(x, 0); at 0 no gradient flows. */
export const relu = (x: Tensor): Tensor => unary("relu", x);
export const square = (x: Tensor): Tensor => unary("square", x);
export const sqrt = (x: Tensor): Tensor => unary("sqrt", x);
export const abs = (x: Tensor): Tensor => unary("abs", x);
/** -1, 0 or 1. */
export const sign = (x: Tensor): Tensor => unary("sign", x);
/** x, but at least `low` and at most `high`; a gradient flows where x is in between or at one of them. */
export const clamp = (x: Tensor, low: number, high: number): Tensor => unary("clamp", x, low, high);
/** 1 where low <= x <= high, else 0. */
export const inside = (x: Tensor, low: number, high: number): Tensor => unary("inside", x, low, high);

/** a + b, of which one may be a tensor of one element; `add` in add.ts is for two of one shape. */
export const addScalar = (a: Tensor, b: Tensor): Tensor => binary("add", a, b);
export const subtract = (a: Tensor, b: Tensor): Tensor => binary("subtract", a, b);
export const multiply = (a: Tensor, b: Tensor): Tensor => binary("multiply", a, b);
export const divide = (a: Tensor, b: Tensor): Tensor => binary("divide", a, b);
export const minimum = (a: Tensor, b: Tensor): Tensor => binary("minimum", a, b);
export const maximum = (a: Tensor, b: Tensor): Tensor => binary("maximum", a, b);
/** 1 where a <= b, else 0. */
export const atMost = (a: Tensor, b: Tensor): Tensor => binary("atMost", a, b);
/** 1 where a > b, else 0. */
export const above = (a: Tensor, b: Tensor): Tensor => binary("above", a, b);

function unary(name: keyof typeof unaries, x: Tensor, p = 0, q = 0): Tensor {
  const { value, gradient }: Unary = unaries[name];
  const count = sizeOf(x.shape);
  return tensor({
    name,
    shape: x.shape,
    inputs: [x],
    reference: (x) => x.map((v) => value(v, p, q)),
    dispatch: launch("unary", Object.keys(unaries).indexOf(name), { count, p, q, a_step: 1, b_step: 0 }),
    vjp: (grad, y) => [gradient?.(grad, x, y, p, q) ?? null],
  });
}

/** Of two tensors of one shape, or of one and a tensor of shape [1], which meets every element of the other. */
function binary(name: keyof typeof binaries, a: Tensor, b: Tensor): Tensor {
  const { value, gradient }: Binary = binaries[name];
  const shape = isScalar(a) ? b.shape : a.shape;
  if (!isScalar(b)) expectShape(name, "b", b.shape, shape);
  const count = sizeOf(shape);
  const [a_step, b_step] = [a, b].map((x) => (isScalar(x) ? 0 : 1)) as [number, number];
  return tensor({
    name,
    shape,
    inputs: [a, b],
    reference: (a, b) => new Float64Array(count).map((_, i) => value(a[i * a_step]!, b[i * b_step]!)),
    dispatch: launch("binary", Object.keys(binaries).indexOf(name), { count, p: 0, q: 0, a_step, b_step }),
    vjp: (grad, y) => {
      if (!gradient) return [null, null];
      const [da, db] = gradient(grad, a, b, y);
      return [summedTo(a.shape, da), summedTo(b.shape, db)];
    },
  });
}

function launch(entry: "unary" | "binary", operation: number, params: Launch["params"] & { readonly count: number }) {
  const kernel = { name: "elementwise", source, entry, constants: { OPERATION: operation } };
  return (): Launch => ({ kernel, params, workgroups: linear(params.count, 256) });
}

function isScalar({ shape }: Tensor): boolean {
  return sameShape(shape, [1]);
}

/** What met every element gets the sum of their gradients. */
function summedTo(shape: Shape, grad: Tensor): Tensor {
  return sameShape(shape, grad.shape) ? grad : sum(grad);
}
