/**
 * How often one model's answers beat another's. Each pair is judged in both orders, because judges favour a place:
 * https://arxiv.org/abs/2306.05685, section 3.4.
 */
import { standardError } from "./estimate";

/** Which answer of a pair is better. */
export type Winner = "a" | "b" | "tie";

/** What A has of a pair: 1 won, 0.5 tied, 0 lost. */
export type Points = 0 | 0.5 | 1;

export interface WinRate {
  /** Pairs that count. */
  readonly pairs: number;
  readonly wins: number;
  readonly ties: number;
  readonly losses: number;
  /** Per cent: wins and half of the ties. Null without pairs. */
  readonly win_rate: number | null;
  /** Of the win rate; null for fewer than two pairs. */
  readonly standard_error: number | null;
}

/** What verdicts on a pair in both orders are worth: a win or a loss where both say so, else a tie. Null where one could not be read. */
export function pointsOf(one: Winner | null, other: Winner | null): Points | null {
  if (one === null || other === null) return null;
  if (one !== other || one === "tie") return 0.5;
  return one === "a" ? 1 : 0;
}

/** The one with the higher score wins. */
export function pointsBetween(a: number, b: number): Points {
  return a > b ? 1 : a < b ? 0 : 0.5;
}

export function winRate(points: readonly Points[]): WinRate {
  const count = (wanted: Points) => points.filter((one) => one === wanted).length;
  const [wins, ties, losses] = [count(1), count(0.5), count(0)];
  const pairs = points.length;
  const error = standardError(points);
  return {
    pairs,
    wins,
    ties,
    losses,
    win_rate: pairs > 0 ? (100 * (wins + ties / 2)) / pairs : null,
    standard_error: error === null ? null : 100 * error,
  };
}
