/** Two models' scores on the same prompts: their means, how far they are apart, and how often each is ahead. */
import { standardError } from "./estimate";
import { type Points, pointsBetween, type WinRate, winRate } from "./win-rate";

export interface PairedScores extends WinRate {
  /** Prompts of which a score is missing, so that they do not count. */
  readonly unjudged: number;
  /** Means; null where nothing counts, as all below. */
  readonly a: number | null;
  readonly b: number | null;
  /** a - b, and its standard error by the differences of the pairs: null for fewer than two. */
  readonly difference: number | null;
  readonly difference_error: number | null;
}

export function pairedScores(scores: readonly (readonly [a: number | null, b: number | null])[]): PairedScores {
  const counted = scores.filter((pair): pair is readonly [number, number] => pair.every((score) => score !== null));
  const mean = (values: readonly number[]) =>
    values.length > 0 ? values.reduce((sum, value) => sum + value, 0) / values.length : null;
  const differences = counted.map(([a, b]) => a - b);
  return {
    ...winRate(counted.map(([a, b]): Points => pointsBetween(a, b))),
    unjudged: scores.length - counted.length,
    a: mean(counted.map(([a]) => a)),
    b: mean(counted.map(([, b]) => b)),
    difference: mean(differences),
    difference_error: standardError(differences),
  };
}
