/** pass@k: how often at least one of k answers passes, from n >= k answers of each problem (https://arxiv.org/abs/2107.03374, eq. 1). */
import { type Estimate, estimate } from "./estimate";

/** 1 - C(n - c, k) / C(n, k), without bias: of n answers c pass. As a product, whose factors stay between 0 and 1. */
export function passAt(k: number, { n, c }: { readonly n: number; readonly c: number }): number {
  if (n - c < k) return 1;
  let none = 1;
  for (let i = n - c + 1; i <= n; i++) none *= 1 - k / i;
  return 1 - none;
}

export interface PassAt extends Estimate {
  /** Those with at least k answers that are judged. */
  readonly problems: number;
}

/**
 * The mean over problems, with its standard error. `scores`: of each problem what its answers got; a score of 1 or more passes, and null
 * is not judged. Null where no problem counts.
 */
export function passRate(k: number, scores: Iterable<readonly (number | null)[]>): PassAt | null {
  const rates = [...scores].flatMap((of) => {
    const judged = of.filter((score) => score !== null);
    const passed = judged.filter((score) => score >= 1).length;
    return judged.length < k ? [] : [passAt(k, { n: judged.length, c: passed })];
  });
  return rates.length === 0 ? null : { ...estimate(rates), problems: rates.length };
}
