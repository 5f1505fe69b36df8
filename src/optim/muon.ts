/**
 * Muon: the momentum of each linear layer's matrix, made nearly orthogonal by five Newton-Schulz iterations
 * (https://kellerjordan.github.io/posts/muon), scaled so that its elements are as large as AdamW's steps
 * (https://arxiv.org/abs/2502.16982, equation 4): rate and decay are AdamW's. Tables, norms and biases go by AdamW. In float32.
 */
import source from "../../kernels/muon.wgsl" with { type: "text" };
import { plan, planBytes } from "../autograd/plan";
import { Program } from "../autograd/program";
import { linear, type Slice, whole } from "../device/device";
import type { Parameter, Parameters } from "../model/parameters";
import { add } from "../ops/add";
import { divide, scale, shift, sqrt, square } from "../ops/elementwise";
import { matmul } from "../ops/matmul";
import { sum } from "../ops/reduce";
import { matrixOf, sizeOf } from "../tensor/shape";
import { input, type Tensor, tensor } from "../tensor/tensor";
import { adamwOf } from "./adamw";
import type { Rule, RuleOptions, Window } from "./rule";

const [A, B, C] = [3.4445, -4.775, 2.0315];
const ITERATIONS = 5;
const EPSILON = 1e-7;

/** What a step's root mean square is brought to. */
const STEP = 0.2;

export const muon: Rule = (device, part, options) => {
  const { steps, matrices, stats, schedule } = graphOf(part.weights.parameters, options);
  const bind = new Map<Tensor, Slice>([
    [stats, whole(part.stats)],
    [schedule, whole(part.schedule)],
  ]);
  for (const [i, { offset, size }] of matrices.entries()) {
    const { momentum, gradient, weights } = steps[i]!;
    bind.set(momentum, part.moments[0].slice(offset, size));
    bind.set(gradient, part.gradients.slice(offset, size));
    bind.set(weights, part.weights.slice(offset, size));
  }
  const changed = steps.map(({ changed }) => changed);
  const others = device.record(without(part.windows, matrices).map((window) => adamwOf(part, options, window)));
  const program = changed.length > 0 ? new Program(device, changed, { bind }) : null;
  return {
    replay() {
      others.replay();
      program?.run();
    },
    [Symbol.dispose]() {
      others[Symbol.dispose]();
      program?.[Symbol.dispose]();
    },
  };
};

/** What a step works out on the way takes so many bytes. */
export function muonBytes(parameters: Parameters): number {
  const { steps, stats, schedule } = graphOf(parameters, { momentum: 0.95, weightDecay: 0.1 });
  const bound = steps.flatMap(({ momentum, gradient, weights }) => [momentum, gradient, weights]);
  return planBytes(
    plan(
      steps.map(({ changed }) => changed),
      new Set([stats, schedule, ...bound]),
    ),
  );
}

/** A step of every linear layer's matrix. */
function graphOf({ list }: Parameters, { momentum: keep, weightDecay }: Pick<RuleOptions, "momentum" | "weightDecay">) {
  const matrices = list.filter(({ role }) => role === "linear");
  const [stats, schedule] = [input("stats", [4]), input("schedule", [4])];
  const steps = matrices.map(({ name, shape }) => {
    const of = (what: string) => input(`${what} of ${name}`, shape);
    const [momentum, gradient, weights] = [of("momentum"), of("gradient"), of("weights")];
    const orthogonal = newtonSchulz(nesterov([momentum, gradient, stats], keep));
    const factor = STEP * Math.sqrt(Math.max(...shape));
    const changed = applied([weights, orthogonal, stats, schedule], { decay: weightDecay, factor });
    return { momentum, gradient, weights, changed };
  });
  return { matrices, steps, stats, schedule };
}

/** X of X's singular vectors, its singular values all near 1: [R, C] -> [R, C]. */
export function newtonSchulz(x: Tensor): Tensor {
  const { rows, columns } = matrixOf("newtonSchulz", "x", x.shape);
  let y = divide(x, shift(sqrt(sum(square(x))), EPSILON));
  for (let i = 0; i < ITERATIONS; i++) {
    // The smaller of the two squares.
    const wide = rows <= columns;
    const a = matmul(y, y, wide ? { transposeB: true } : { transposeA: true });
    const b = add(scale(a, B), scale(matmul(a, a), C));
    y = add(scale(y, A), wide ? matmul(b, y) : matmul(y, b));
  }
  return y;
}

/** The momentum is changed in place; what comes out is where Nesterov's would be after one more step. */
function nesterov([first, gradient, stats]: readonly [Tensor, Tensor, Tensor], momentum: number): Tensor {
  const count = sizeOf(first.shape);
  return tensor({
    name: "nesterov",
    shape: first.shape,
    inputs: [first, gradient, stats],
    reference: (m, g, stats) =>
      m.map((v, i) => {
        const own = (1 - momentum) * g[i]! * stats[1]!;
        return own + momentum * (momentum * v + own);
      }),
    dispatch: () => ({
      kernel: { name: "muon", source, entry: "momentum" },
      params: { count, momentum, decay: 0, factor: 0 },
      workgroups: linear(count, 256),
    }),
  });
}

/** The weights, in place. */
function applied(
  inputs: readonly [weights: Tensor, step: Tensor, stats: Tensor, schedule: Tensor],
  { decay, factor }: { readonly decay: number; readonly factor: number },
): Tensor {
  const [weights] = inputs;
  const count = sizeOf(weights.shape);
  return tensor({
    name: "applied",
    shape: weights.shape,
    inputs,
    inPlace: true,
    reference: (w, x, _stats, schedule) => w.map((v, i) => v - schedule[0]! * (decay * v + factor * x[i]!)),
    dispatch: () => ({
      kernel: { name: "muon", source, entry: "apply" },
      params: { count, momentum: 0, decay, factor },
      workgroups: linear(count, 256),
    }),
  });
}

/** What is left of the windows. */
function without(windows: readonly Window[], matrices: readonly Parameter[]): Window[] {
  const ordered = [...matrices].sort((a, b) => a.offset - b.offset);
  return windows.flatMap(({ offset, count }) => {
    const left: Window[] = [];
    let at = offset;
    for (const { offset: first, size } of ordered) {
      const end = Math.min(first, offset + count);
      if (end > at) left.push({ offset: at, count: end - at });
      // The room behind it, up to the next weight, is nobody's.
      at = Math.max(at, Math.min(offset + count, aligned(first + size)));
    }
    if (offset + count > at) left.push({ offset: at, count: offset + count - at });
    return left;
  });
}

const aligned = (size: number) => 64 * Math.ceil(size / 64);
