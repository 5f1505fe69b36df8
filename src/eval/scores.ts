/** The scores that a reward model gives to many sequences, each alone in its row: it does not depend on its company. */
import { Program } from "../autograd/program";
import { Scratch } from "../autograd/scratch";
import { dealOf } from "../data/deal";
import { fillSequences, sequenceArrays } from "../data/layout";
import { scoreInputs, scores } from "../model/scores";
import { bindAll } from "../model/slab";
import { tick } from "../tick";
import type { Scoring } from "./completions";

/** Yields [which of them, its raw score], those of like length together. */
export async function* scoresOf(
  { device, model, slabs, rows, length }: Scoring,
  sequences: readonly Uint32Array[],
): AsyncGenerator<readonly [at: number, score: number]> {
  if (sequences.length === 0) return;
  const items = sequences.map((ids, at) => ({ size: ids.length, targets: 1, where: `sequence ${at + 1}` }));
  const deal = dealOf(items, { rows, tokens: length, accumulate: 1, shuffle: false, fine: true, seed: 0 });
  using scratch = new Scratch(device);
  const bind = bindAll(slabs);
  const passes = new Map<number, ReturnType<typeof passOf>>();
  try {
    for (let step = 0; step < deal.stepsPerEpoch; step++) {
      await tick();
      for (const { graph, rows: chosen } of deal.step(step).micro) {
        let pass = passes.get(graph);
        if (!pass) {
          pass = passOf(deal.lengths[graph]!);
          passes.set(graph, pass);
        }
        const { program, inputs, arrays, found } = pass;
        const places = chosen.flat();
        fillSequences(
          places.map((at) => sequences[at]!),
          arrays,
        );
        program.feed(inputs.tokens, arrays.tokens);
        program.feed(inputs.positions, arrays.positions);
        program.feed(inputs.ends, arrays.ends);
        program.run();
        const values = program.read(found);
        for (const [row, at] of places.entries()) yield [at, values[row]!];
      }
    }
  } finally {
    for (const { program } of passes.values()) program[Symbol.dispose]();
  }

  function passOf(length: number) {
    const inputs = scoreInputs(rows, length);
    const found = scores(model, inputs, { length });
    return {
      program: new Program(device, [found], { bind, scratch }),
      inputs,
      arrays: sequenceArrays(rows, length),
      found,
    };
  }
}
