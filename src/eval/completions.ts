/** The log-probabilities of many completions, each alone in its row: what it is worth does not depend on its company. */
import { Program } from "../autograd/program";
import { Scratch } from "../autograd/scratch";
import { dealOf } from "../data/deal";
import { dealt, type Example } from "../data/examples";
import { batchArrays, fillBatch } from "../data/layout";
import type { Device } from "../device/device";
import { completionInputs, completions } from "../model/completions";
import type { Model } from "../model/model";
import { bindAll, type Slab } from "../model/slab";
import { input } from "../tensor/tensor";
import { tick } from "../tick";

export interface Scoring {
  readonly device: Device;
  readonly model: Model;
  readonly slabs: readonly Slab[];
  /** Rows of a pass, and tokens of a row at most. */
  readonly rows: number;
  readonly length: number;
}

/** A completion, with what each of its tokens' log-probabilities counts for; 1 if absent. */
export interface Weighted {
  readonly example: Example;
  readonly weights?: Float32Array | undefined;
}

/**
 * Yields [which of them, the sum over its trained tokens of their log-probabilities], those of like length together. Who stops asking
 * frees what it took.
 */
export async function* completionLogProbs(
  { device, model, slabs, rows, length }: Scoring,
  asked: readonly Weighted[],
): AsyncGenerator<readonly [at: number, logProb: number]> {
  if (asked.length === 0) return;
  const examples = asked.map(({ example }) => example);
  const deal = dealOf(examples.map(dealt), {
    rows,
    tokens: length,
    accumulate: 1,
    shuffle: false,
    fine: true,
    seed: 0,
  });
  const most = deal.mostTargets(deal.stepsPerEpoch);
  using scratch = new Scratch(device);
  const bind = bindAll(slabs);
  const passes = new Map<number, ReturnType<typeof passOf>>();
  try {
    for (let step = 0; step < deal.stepsPerEpoch; step++) {
      await tick();
      for (const { graph, rows: chosen } of deal.step(step).micro) {
        let pass = passes.get(graph);
        if (!pass) passes.set(graph, (pass = passOf(deal.lengths[graph]!, most[graph]!)));
        const { program, inputs, arrays, weights, logProbs } = pass;
        fillBatch(examples, chosen, deal.lengths[graph]!, arrays);
        for (const name of fed) program.feed(inputs[name], arrays[name]);
        weights.values.fill(1);
        let target = 0;
        for (const [at] of chosen as readonly (readonly [number])[]) {
          if (asked[at]!.weights) weights.values.set(asked[at]!.weights, target);
          target += examples[at]!.targets;
        }
        program.feed(weights.input, weights.values);
        program.run();
        const found = program.read(logProbs);
        for (const [row, [at]] of (chosen as readonly (readonly [number])[]).entries()) yield [at, found[row]!];
      }
    }
  } finally {
    for (const { program } of passes.values()) program[Symbol.dispose]();
  }

  function passOf(length: number, targets: number) {
    const inputs = completionInputs(rows * length, targets);
    const weights = { input: input("weights of the targets", [targets]), values: new Float32Array(targets) };
    const { logProbs } = completions(model, inputs, { length, count: rows, weights: weights.input });
    const program = new Program(device, [logProbs], { bind, scratch });
    return { program, inputs, arrays: batchArrays(rows, length, targets), weights, logProbs };
  }
}

const fed = ["tokens", "positions", "places", "targets", "completions"] as const;
