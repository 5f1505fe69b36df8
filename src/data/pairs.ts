/** What preferences are learned from: two answers to one prompt of which one is better, and answers that are good or bad alone. */
import type { Example } from "./examples";

/** The two answers to a prompt, as tokens. Of each only the answer itself is trained, never an earlier turn. */
export interface PairExample {
  readonly chosen: Example;
  readonly rejected: Example;
  /** By how much the chosen one is better, where the record says so. */
  readonly margin: number | null;
  /** The prompt in words: what pairs of one prompt have in common. */
  readonly prompt: string;
  readonly where: string;
}

/** An answer that is good or bad. */
export interface JudgedExample {
  readonly answer: Example;
  readonly good: boolean;
  readonly prompt: string;
  readonly where: string;
}
