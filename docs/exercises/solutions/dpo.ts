/** Equation 7 of https://arxiv.org/abs/2305.18290, of one pair. */
import type { Pair } from "../dpo";

export function dpo({ chosen, rejected, chosenReference, rejectedReference }: Pair, beta: number): number {
  const margin = beta * (chosen - chosenReference - (rejected - rejectedReference));
  // -log sigmoid(x) = log(1 + e^-x), which must not overflow for an x far below 0.
  return margin > 0 ? Math.log1p(Math.exp(-margin)) : Math.log1p(Math.exp(margin)) - margin;
}
