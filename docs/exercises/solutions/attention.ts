/** One head of causal attention. */
export function attention(q: number[][], k: number[][], v: number[][]): number[][] {
  const D = q[0]!.length;
  return q.map((query, t) => {
    const seen = k.slice(0, t + 1);
    const scores = seen.map((key) => query.reduce((sum, x, c) => sum + x * key[c]!, 0) / Math.sqrt(D));
    // Without the largest, exp would overflow at scores of a few hundred; the quotient is the same.
    const largest = Math.max(...scores);
    const weights = scores.map((score) => Math.exp(score - largest));
    const total = weights.reduce((a, b) => a + b, 0);
    return query.map((_, c) => weights.reduce((sum, w, i) => sum + (w / total) * v[i]![c]!, 0));
  });
}
