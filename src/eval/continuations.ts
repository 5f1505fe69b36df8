/** The log-likelihood of continuations, each by itself: what one is worth does not depend on its company. */
import { Program } from "../autograd/program";
import { completionInputs, completions, told } from "../model/completions";
import { bindAll } from "../model/slab";
import { IGNORE } from "../ops/cross-entropy";
import { inPasses, type Scoring } from "./passes";

/** Tokens, of which those from `from` on are predicted. The last is only predicted, so there may be one more than the model's context. */
export interface Continuation {
  readonly ids: Uint16Array | Uint32Array;
  /** 1 or more. */
  readonly from: number;
  readonly where: string;
}

export interface Likelihood {
  /** The sum over its tokens of their log-probabilities, in nats. */
  readonly logLikelihood: number;
  /** Whether each of them is the likeliest there, and so what the model would say. */
  readonly greedy: boolean;
}

/** With that of each token, from `from` on. */
export interface Detailed extends Likelihood {
  readonly logProbs: Float32Array;
}

const fed = ["tokens", "positions", "places", "targets", "completions"] as const;

/** Yields [which of them, what it is worth]. */
export function likelihoods(
  scoring: Scoring,
  asked: readonly Continuation[],
): AsyncGenerator<readonly [at: number, likelihood: Detailed]> {
  const { device, model, slabs, rows } = scoring;
  const bind = bindAll(slabs);
  const items = asked.map(({ ids, from, where }) => ({ size: ids.length - 1, targets: ids.length - from, where }));
  return inPasses(scoring, items, (length, most, scratch) => {
    const inputs = completionInputs(rows * length, most);
    const found = completions(model, inputs, { length, count: rows });
    const likeliest = told(found, "likeliest");
    const program = new Program(device, [found.logProbs, likeliest, found.ofTokens], { bind, scratch });
    const arrays = {
      tokens: new Uint32Array(rows * length),
      positions: Uint32Array.from({ length: rows * length }, (_, i) => i % length),
      places: new Uint32Array(most),
      targets: new Uint32Array(most),
      completions: new Uint32Array(most),
    };
    let counts: number[] = [];
    return {
      program,
      feed(places) {
        counts = places.map((at) => items[at]!.targets);
        fill(
          places.map((at) => asked[at]!),
          length,
          arrays,
        );
        for (const name of fed) program.feed(inputs[name], arrays[name]);
      },
      read() {
        const [sums, hits, each] = [found.logProbs, likeliest, found.ofTokens].map((one) => program.read(one));
        let sum = 0;
        const begins = counts.map((count) => (sum += count) - count);
        return (row) => ({
          logLikelihood: sums![row]!,
          greedy: hits![row] === counts[row],
          logProbs: each!.slice(begins[row]!, begins[row]! + counts[row]!),
        });
      },
    };
  });
}

/** A continuation a row, padding behind it. */
function fill(
  rows: readonly Continuation[],
  length: number,
  { tokens, places, targets, completions }: Readonly<Record<(typeof fed)[number], Uint32Array>>,
): void {
  tokens.fill(0);
  places.fill(0);
  targets.fill(IGNORE);
  completions.fill(IGNORE);
  let target = 0;
  for (const [row, { ids, from }] of rows.entries()) {
    tokens.set(ids.subarray(0, -1), row * length);
    for (let t = from; t < ids.length; t++) {
      places[target] = row * length + t - 1;
      completions[target] = row;
      targets[target++] = ids[t]!;
    }
  }
}
