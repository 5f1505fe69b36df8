/** The scores of a reward model that are comparable: its gain and bias applied. */
import { scoresOf } from "../../eval/scores";
import type { Normalisation } from "../../formats/normalisation";
import { percentages, type Reporter } from "../../log/console";
import type { Subject } from "./subject";

export interface Scoring {
  /** Sequences that run together. */
  readonly rows: number;
  readonly normalisation: Normalisation;
  /** While it goes on. */
  readonly says: string;
}

/** What a reward model gives to each sequence, its gain and bias applied. */
export async function normalisedScores(
  { device, model, slabs }: Pick<Subject, "device" | "model" | "slabs">,
  sequences: readonly Uint32Array[],
  { rows, normalisation: { gain, bias }, says }: Scoring,
  console: Reporter,
): Promise<number[]> {
  const progress = percentages(console, says);
  const found = new Array<number>(sequences.length);
  let done = 0;
  for await (const [at, score] of scoresOf({ device, model, slabs, rows, length: model.config.context }, sequences)) {
    found[at] = gain * score + bias;
    progress(++done, sequences.length);
  }
  console.done();
  return found;
}
