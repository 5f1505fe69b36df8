/** Position t sees t + 1 positions: 0 to t. With t + 2 it saw the next token, which is what it is asked for. */
export function masked(scores: number[][], v: number[][]): number[][] {
  return scores.map((row, t) => {
    const seen = t + 1;
    const largest = Math.max(...row.slice(0, seen));
    const weights = row.slice(0, seen).map((score) => Math.exp(score - largest));
    const total = weights.reduce((a, b) => a + b, 0);
    return v[0]!.map((_, c) => weights.reduce((sum, w, i) => sum + (w / total) * v[i]![c]!, 0));
  });
}
