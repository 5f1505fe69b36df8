/** Exercise: the gradient that training begins with. Check it with `npm run exercise gradient`. */

/** d(-log softmax(logits)[target]) / d logits: [V] -> [V]. */
export function gradient(_logits: number[], _target: number): number[] {
  throw new Error("not written yet");
}
