/** Exercise: one head of causal attention, by hand. Check it with `npm run exercise attention`. */

/**
 * softmax(q k / sqrt(D)) v, each position seeing itself and those before it. q, k, v: [T][D], T positions of D channels -> [T][D].
 */
export function attention(_q: number[][], _k: number[][], _v: number[][]): number[][] {
  throw new Error("not written yet");
}
