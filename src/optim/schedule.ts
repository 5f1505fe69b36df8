/** Learning rates: pure functions of the step, each with a linear warm-up. */

export interface Schedule {
  readonly kind: "cosine" | "linear" | "constant" | "wsd";
  /** The peak. */
  readonly lr: number;
  readonly steps: number;
  /** Steps over which the rate rises from lr / warmup to lr; below 1 the share of the steps. */
  readonly warmup: number;
  /** What the rate ends at, as a share of the peak. */
  readonly floor: number;
  /** wsd: the last share of the steps, over which the rate falls linearly. https://arxiv.org/abs/2404.06395, section 4.2. */
  readonly decay: number;
}

/** The learning rate of step `step`, counted from 0. */
export function learningRate({ kind, lr, steps, warmup: given, floor, decay }: Schedule, step: number): number {
  const warmup = given < 1 ? Math.round(given * steps) : given;
  if (step < warmup) return (lr * (step + 1)) / warmup;
  const progress = Math.min(1, (step - warmup) / Math.max(1, steps - warmup));
  switch (kind) {
    case "constant":
      return lr;
    case "linear":
      return lr * (floor + (1 - floor) * (1 - progress));
    case "cosine":
      return lr * (floor + ((1 - floor) * (1 + Math.cos(Math.PI * progress))) / 2);
    case "wsd": {
      const start = steps * (1 - decay);
      if (step < start) return lr;
      return lr * (floor + (1 - floor) * (1 - Math.min(1, (step - start) / Math.max(1, steps - start))));
    }
    default:
      throw new Error(`schedule ${kind satisfies never}`);
  }
}
