/** The likeliest next tokens, from logits. */
import { notFinite } from "./decoder";

export interface Likely {
  readonly id: number;
  readonly probability: number;
}

/** The K tokens with the highest probability, the likeliest first. */
export function likeliest(logits: Float32Array, count: number): Likely[] {
  if (!logits.every(Number.isFinite)) throw notFinite();
  const largest = logits.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
  const total = logits.reduce((sum, v) => sum + Math.exp(v - largest), 0);
  return Array.from(logits, (v, id) => ({ id, probability: Math.exp(v - largest) / total }))
    .sort((a, b) => b.probability - a.probability || a.id - b.id)
    .slice(0, count);
}
