/** A micro-batch laid out in the arrays that it is fed as: tokens, positions, documents, targets. */
import { IGNORE } from "../ops/cross-entropy";
import type { Example } from "./examples";

/** The arrays are used again for the next micro-batch. */
export interface BatchArrays {
  /** [rows x length] */
  readonly tokens: Uint32Array;
  readonly positions: Uint32Array;
  /** Where in its row each token's example begins. */
  readonly starts: Uint32Array;
  /** [targets]: the place that each target is predicted from, then the target itself. */
  readonly places: Uint32Array;
  readonly targets: Uint32Array;
  /** The row that each target is of; for flags of 2, those of prompts that are learned, the row's number behind all rows'. */
  readonly completions: Uint32Array;
}

export function batchArrays(rows: number, length: number, targets: number): BatchArrays {
  const size = rows * length;
  const array = (count: number) => new Uint32Array(count);
  return {
    tokens: array(size),
    positions: array(size),
    starts: array(size),
    places: array(targets),
    targets: array(targets),
    completions: array(targets),
  };
}

/** Positions count from the beginning of each example; padding stands behind the last one of its row. */
export function fillBatch(
  examples: readonly Example[],
  rows: readonly (readonly number[])[],
  length: number,
  { tokens, positions, starts, places, targets, completions }: BatchArrays,
): void {
  tokens.fill(0);
  places.fill(0);
  targets.fill(IGNORE);
  completions.fill(IGNORE);
  const rowCount = tokens.length / length;
  let target = 0;
  for (let row = 0; row * length < tokens.length; row++) {
    let at = 0;
    for (const i of rows[row] ?? []) {
      const { ids, trained } = examples[i]!;
      const first = row * length + at;
      tokens.set(ids, first);
      positions.subarray(first, first + ids.length).forEach((_, t) => {
        positions[first + t] = t;
      });
      starts.fill(at, first, first + ids.length);
      for (let t = 1; t < ids.length; t++) {
        if (!trained[t]) continue;
        places[target] = first + t - 1;
        completions[target] = row + (trained[t]! - 1) * rowCount;
        targets[target++] = ids[t]!;
      }
      at += ids.length;
    }
    // Padding is a document of its own: nothing sees it, and its positions are within the context.
    for (let t = at; t < length; t++) positions[row * length + t] = t - at;
    starts.fill(at, row * length + at, (row + 1) * length);
  }
}

/** What sequences are scored from. The arrays are used again. */
export interface SequenceArrays {
  /** [rows x length] */
  readonly tokens: Uint32Array;
  readonly positions: Uint32Array;
  /** [rows]: where each one's last token stands. */
  readonly ends: Uint32Array;
}

export function sequenceArrays(rows: number, length: number): SequenceArrays {
  const positions = Uint32Array.from({ length: rows * length }, (_, i) => i % length);
  return { tokens: new Uint32Array(rows * length), positions, ends: new Uint32Array(rows) };
}

/** A sequence a row, padding behind it; a row without one has an end all the same, and counts for nothing. */
export function fillSequences(sequences: readonly Uint32Array[], { tokens, ends }: SequenceArrays): void {
  const length = tokens.length / ends.length;
  tokens.fill(0);
  for (let row = 0; row < ends.length; row++) {
    const ids = sequences[row];
    if (ids) tokens.set(ids, row * length);
    ends[row] = row * length + Math.max(1, ids?.length ?? 1) - 1;
  }
}
