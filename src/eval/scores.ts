/** The scores that a reward model gives to many sequences: one does not depend on its company. */
import { Program } from "../autograd/program";
import { fillSequences, sequenceArrays } from "../data/layout";
import { scoreInputs, scores } from "../model/scores";
import { bindAll } from "../model/slab";
import { inPasses, numbersOf, type Scoring } from "./passes";

/** Yields [which of them, its raw score]. */
export function scoresOf(
  scoring: Scoring,
  sequences: readonly Uint32Array[],
): AsyncGenerator<readonly [at: number, score: number]> {
  const { device, model, slabs, rows } = scoring;
  const bind = bindAll(slabs);
  const items = sequences.map((ids, at) => ({ size: ids.length, targets: 1, where: `sequence ${at + 1}` }));
  return inPasses(scoring, items, (length, _targets, scratch) => {
    const inputs = scoreInputs(rows, length);
    const found = scores(model, inputs, { length });
    const program = new Program(device, [found], { bind, scratch });
    const arrays = sequenceArrays(rows, length);
    return {
      program,
      read: numbersOf(program, found),
      feed(places) {
        fillSequences(
          places.map((at) => sequences[at]!),
          arrays,
        );
        for (const name of ["tokens", "positions", "ends"] as const) program.feed(inputs[name], arrays[name]);
      },
    };
  });
}
