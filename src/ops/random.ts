/** The counter-based random numbers that kernels draw, in JavaScript: the same bits from the same counters. */

/** PCG output permutation of a 32-bit number: https://jcgt.org/published/0009/03/02, section 4. */
export function pcg(v: number): number {
  const state = (Math.imul(v, 747796405) + 2891336453) >>> 0;
  const word = Math.imul((state >>> ((state >>> 28) + 4)) ^ state, 277803737) >>> 0;
  return ((word >>> 22) ^ word) >>> 0;
}

/** A number in [0, 1) with 24 bits, for element `index` of random stream `stream` under `seed`. */
export function randomAt(seed: number, stream: number, index: number): number {
  return (pcg((index + pcg((stream + pcg(seed)) >>> 0)) >>> 0) >>> 8) / 16777216;
}
