/** What tokens are worth: generalised advantage estimation, whitening, and estimates of the divergence from a reference. In float64. */
import { meanOf } from "./advantages";

/**
 * Generalised advantage estimation (https://arxiv.org/abs/1506.02438, equation 16) over the tokens of one answer. `values`: of the state
 * before each token; behind the last one there is nothing more to come. Its returns are advantages + values.
 */
export function advantagesOf(
  rewards: readonly number[],
  values: readonly number[],
  { gamma, lambda }: { readonly gamma: number; readonly lambda: number },
): number[] {
  const found = new Array<number>(rewards.length);
  let next = 0;
  for (let t = rewards.length - 1; t >= 0; t--) {
    const surprise = rewards[t]! + gamma * (values[t + 1] ?? 0) - values[t]!;
    next = surprise + gamma * lambda * next;
    found[t] = next;
  }
  return found;
}

export interface Whitening {
  /** The mean is brought to 0 too. */
  readonly shift: boolean;
  /** The variance over n and not n - 1. */
  readonly biased: boolean;
}

/** All numbers of all answers brought to deviation 1: divided by the root of their variance + 1e-8. */
export function whitened(rows: readonly (readonly number[])[], { shift, biased }: Whitening): number[][] {
  const all = rows.flat();
  const mean = meanOf(all);
  const squares = all.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  const variance = squares / Math.max(1, biased ? all.length : all.length - 1);
  const by = 1 / Math.sqrt(variance + 1e-8);
  return rows.map((row) => row.map((value) => (value - mean) * by + (shift ? 0 : mean)));
}

/** http://joschu.net/blog/kl-approx.html: k1 is unbiased, and may be negative; k3 is unbiased, never negative, and varies less. */
export const divergences = {
  k1: (policy: number, reference: number) => policy - reference,
  k3: (policy: number, reference: number) => Math.expm1(reference - policy) - (reference - policy),
} as const satisfies Readonly<Record<string, (policy: number, reference: number) => number>>;

export type Estimator = keyof typeof divergences;

/** The coefficient of an adaptive penalty, after a step of `episodes` answers (https://arxiv.org/abs/1909.08593, section 2.2). */
export function adapted(
  coefficient: number,
  divergence: number,
  { target, horizon, episodes }: { readonly target: number; readonly horizon: number; readonly episodes: number },
): number {
  const error = Math.min(0.2, Math.max(-0.2, divergence / target - 1));
  return coefficient * (1 + (error * episodes) / horizon);
}
