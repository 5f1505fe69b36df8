/**
 * The win rate at equal length, as AlpacaEval's `length_controlled_minimal`: a logistic regression of wins on the difference of lengths,
 * read where that is zero. https://arxiv.org/abs/2404.04475
 */
import { randomAt } from "../ops/random";
import { deviation } from "./estimate";

export interface LengthPair {
  /** Of the first model: 1 won, 0.5 tied, 0 lost. */
  readonly points: number;
  /** Characters of both answers. */
  readonly lengths: readonly [a: number, b: number];
}

export interface LengthFit {
  readonly theta: number;
  readonly phi: number;
}

export interface LengthControlled extends LengthFit {
  /** Per cent. */
  readonly win_rate: number;
  /** By resampling the pairs; null for fewer than two. */
  readonly standard_error: number | null;
}

/** Half of it times the squares of both coefficients is added to the loss, so that there is an answer where one model wins every pair. */
const RIDGE = 1e-3;

const RESAMPLED = 1000;

/** Null without pairs. */
export function lengthControlled(pairs: readonly LengthPair[], seed: number): LengthControlled | null {
  const n = pairs.length;
  if (n === 0) return null;
  const fit = fitLengths(pairs);
  const rates = Array.from({ length: n > 1 ? RESAMPLED : 0 }, (_, sample) => {
    const drawn = pairs.map((_, i) => pairs[Math.floor(randomAt(seed, sample, i) * n)]!);
    return percentOf(fitLengths(drawn));
  });
  return { ...fit, win_rate: percentOf(fit), standard_error: n > 1 ? deviation(rates) : null };
}

function percentOf({ theta }: LengthFit): number {
  return 100 * sigmoid(theta);
}

/** logit p = theta + phi tanh((b - a) / deviation of b - a). Where all differences are the same they explain nothing, and phi is 0. */
export function fitLengths(pairs: readonly LengthPair[]): LengthFit {
  const differences = pairs.map(({ lengths: [a, b] }) => b - a);
  const scale = pairs.length > 1 ? deviation(differences) : 0;
  const x = differences.map((difference) => (scale > 0 ? Math.tanh(difference / scale) : 0));
  const y = pairs.map(({ points }) => points);
  let at: LengthFit = { theta: 0, phi: 0 };
  for (let step = 0; step < 100; step++) {
    const next = newton(x, y, at);
    const moved = Math.max(Math.abs(next.theta - at.theta), Math.abs(next.phi - at.phi));
    at = next;
    if (moved < 1e-12) break;
  }
  return at;
}

/** A step that lowers the loss: half of it, half of that and so on where the whole one does not. */
function newton(x: readonly number[], y: readonly number[], at: LengthFit): LengthFit {
  let [g0, g1, h00, h01, h11] = [RIDGE * at.theta, RIDGE * at.phi, RIDGE, 0, RIDGE];
  for (let i = 0; i < x.length; i++) {
    const p = sigmoid(at.theta + at.phi * x[i]!);
    const w = p * (1 - p);
    g0 += p - y[i]!;
    g1 += (p - y[i]!) * x[i]!;
    h00 += w;
    h01 += w * x[i]!;
    h11 += w * x[i]! ** 2;
  }
  const determinant = h00 * h11 - h01 ** 2;
  const [d0, d1] = [(h11 * g0 - h01 * g1) / determinant, (h00 * g1 - h01 * g0) / determinant];
  const before = lossOf(x, y, at);
  for (let share = 1; share > 1e-6; share /= 2) {
    const next = { theta: at.theta - share * d0, phi: at.phi - share * d1 };
    if (lossOf(x, y, next) <= before) return next;
  }
  return at;
}

function lossOf(x: readonly number[], y: readonly number[], { theta, phi }: LengthFit): number {
  let loss = (RIDGE / 2) * (theta ** 2 + phi ** 2);
  for (let i = 0; i < x.length; i++) {
    const z = theta + phi * x[i]!;
    // log(1 + e^z), which does not overflow.
    loss += Math.max(z, 0) + Math.log1p(Math.exp(-Math.abs(z))) - y[i]! * z;
  }
  return loss;
}

function sigmoid(z: number): number {
  return 1 / (1 + Math.exp(-z));
}
