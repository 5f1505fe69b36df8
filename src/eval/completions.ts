/** The log-probabilities of many completions: what one is worth does not depend on its company. */
import { Program } from "../autograd/program";
import { dealt, type Example } from "../data/examples";
import { batchArrays, fillBatch } from "../data/layout";
import { completionInputs, completions } from "../model/completions";
import { bindAll } from "../model/slab";
import { input } from "../tensor/tensor";
import { inPasses, numbersOf, type Scoring } from "./passes";

/** A completion, with what each of its tokens' log-probabilities counts for; 1 if absent. */
export interface Weighted {
  readonly example: Example;
  readonly weights?: Float32Array | undefined;
}

const fed = ["tokens", "positions", "places", "targets", "completions"] as const;

/** Yields [which of them, the sum over its trained tokens of their log-probabilities]. */
export function completionLogProbs(
  scoring: Scoring,
  asked: readonly Weighted[],
): AsyncGenerator<readonly [at: number, logProb: number]> {
  const { device, model, slabs, rows } = scoring;
  const examples = asked.map(({ example }) => example);
  const bind = bindAll(slabs);
  return inPasses(scoring, examples.map(dealt), (length, targets, scratch) => {
    const inputs = completionInputs(rows * length, targets);
    const weights = input("weights of the targets", [targets]);
    const { logProbs } = completions(model, inputs, { length, count: rows, weights });
    const program = new Program(device, [logProbs], { bind, scratch });
    const arrays = batchArrays(rows, length, targets);
    const counted = new Float32Array(targets);
    return {
      program,
      read: numbersOf(program, logProbs),
      feed(places) {
        fillBatch(
          examples,
          places.map((at) => [at]),
          length,
          arrays,
        );
        for (const name of fed) program.feed(inputs[name], arrays[name]);
        counted.fill(1);
        let target = 0;
        for (const at of places) {
          if (asked[at]!.weights) counted.set(asked[at]!.weights, target);
          target += examples[at]!.targets;
        }
        program.feed(weights, counted);
      },
    };
  });
}
