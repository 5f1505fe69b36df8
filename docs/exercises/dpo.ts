/** Exercise: DPO's loss of one pair. Check it with `npm run exercise dpo`. */

/** Log-probabilities of both answers, sums over their tokens, under the policy and under the reference. */
export interface Pair {
  readonly chosen: number;
  readonly rejected: number;
  readonly chosenReference: number;
  readonly rejectedReference: number;
}

export function dpo(_pair: Pair, _beta: number): number {
  throw new Error("not written yet");
}
