/** The softmax, less 1 at the target: what the model says less what is true. */
export function gradient(logits: number[], target: number): number[] {
  const largest = Math.max(...logits);
  const weights = logits.map((logit) => Math.exp(logit - largest));
  const total = weights.reduce((a, b) => a + b, 0);
  return weights.map((weight, i) => weight / total - (i === target ? 1 : 0));
}
