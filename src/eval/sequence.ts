/** Tokens of which some are scored: a window of a text, or an example with its answers. */
import type { Example } from "../data/examples";
import { windowsOf } from "./perplexity";

export type Sequence = Pick<Example, "ids" | "trained">;

/** A long text in windows of so many tokens at most that follow each other: all but its first token are scored once. */
export function textSequences(ids: Uint16Array | Uint32Array, context: number): Sequence[] {
  return windowsOf(ids.length, { context, stride: context }).map(({ begin, end }) => {
    const own = Uint32Array.from(ids.subarray(begin, end + 1));
    return { ids: own, trained: new Uint8Array(own.length).fill(1, 1) };
  });
}

export function scoredIn(sequences: readonly Sequence[]): number {
  return sequences.reduce((sum, { trained }) => sum + trained.reduce((count, one) => count + one, 0), 0);
}
