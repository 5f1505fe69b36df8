/** The likeliest next tokens, from logits. */
import { UserError } from "../errors";

export interface Likely {
  readonly id: number;
  readonly probability: number;
  readonly logProb: number;
}

/** The K tokens with the highest probability, the likeliest first; of equal ones that of the lower id. */
export function likeliest(logits: Float32Array, count: number): Likely[] {
  if (!logits.every(Number.isFinite)) throw notFinite();
  const largest = logits.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
  const total = logits.reduce((sum, v) => sum + Math.exp(v - largest), 0);
  // The best so far, in order: most logits are below all of them.
  const best: number[] = [];
  logits.forEach((v, id) => {
    if (best.length === count && v <= logits[best.at(-1)!]!) return;
    const at = best.findIndex((other) => v > logits[other]!);
    best.splice(at < 0 ? best.length : at, 0, id);
    if (best.length > count) best.pop();
  });
  return best.map((id) => {
    const logProb = logits[id]! - largest - Math.log(total);
    return { id, probability: Math.exp(logProb), logProb };
  });
}

/** For who would choose a token. */
export function notFinite(): UserError {
  return new UserError("the model's logits are not finite, so that no token can be chosen", {
    hint: "its weights are damaged or too large, or the penalties are",
  });
}
