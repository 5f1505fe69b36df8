/** What a program that trains is told as training goes on: the numbers that metrics.jsonl keeps. */

export interface Watched {
  /** The stage's name. */
  readonly stage: string;
  /** Finished steps, of how many. */
  readonly step: number;
  readonly steps: number;
  /** By the names that metrics have: loss, learning_rate, validation_loss. */
  readonly metrics: Readonly<Record<string, number>>;
}

/** What it throws ends the training. */
export interface Watch {
  /** Every `logEvery` steps. */
  step(watched: Watched): void;
  /** Also before the first step (0), which is never the best. `best`: whether held-out data have never been predicted better. */
  evaluation(watched: Watched & { readonly best: boolean }): void;
}
