/** How far each is above its siblings, in their deviation (over n - 1, with 1e-4 added); where all are alike, nothing. */
export function advantages(rewards: number[][]): number[][] {
  return rewards.map((group) => {
    const mean = group.reduce((a, b) => a + b, 0) / group.length;
    const variance = group.reduce((sum, r) => sum + (r - mean) ** 2, 0) / (group.length - 1);
    return group.map((r) => (r - mean) / (Math.sqrt(variance) + 1e-4));
  });
}
