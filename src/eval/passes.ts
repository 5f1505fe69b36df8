/** Many sequences through a model, each alone in its row, those of like length together. */
import type { Program } from "../autograd/program";
import { Scratch } from "../autograd/scratch";
import { type Dealt, dealOf } from "../data/deal";
import type { Device } from "../device/device";
import type { Model } from "../model/model";
import type { Slab } from "../model/slab";
import type { Tensor } from "../tensor/tensor";
import { tick } from "../tick";

export interface Scoring {
  readonly device: Device;
  readonly model: Model;
  readonly slabs: readonly Slab[];
  /** Rows of a pass, and tokens of a row at most. */
  readonly rows: number;
  readonly length: number;
}

/** A pass over rows of one length. */
export interface Pass<T> {
  readonly program: Program;
  /** What was found, by row, once the program has run. */
  read(): (row: number) => T;
  /** Feeds the program with these of the items, a row each. */
  feed(places: readonly number[]): void;
}

/** Yields [which of the items, what was found of it]. Who stops asking frees what was taken. `passOf` is asked for each length and its most targets. */
export async function* inPasses<T>(
  { device, rows, length }: Scoring,
  items: readonly Dealt[],
  passOf: (length: number, targets: number, scratch: Scratch) => Pass<T>,
): AsyncGenerator<readonly [at: number, found: T]> {
  if (items.length === 0) return;
  const deal = dealOf(items, { rows, tokens: length, accumulate: 1, shuffle: false, fine: true, seed: 0 });
  const most = deal.mostTargets(deal.stepsPerEpoch);
  using scratch = new Scratch(device);
  const passes = new Map<number, Pass<T>>();
  try {
    for (let step = 0; step < deal.stepsPerEpoch; step++) {
      await tick();
      for (const { graph, rows: chosen } of deal.step(step).micro) {
        const pass = passes.get(graph) ?? passOf(deal.lengths[graph]!, most[graph]!, scratch);
        passes.set(graph, pass);
        const places = chosen.flat();
        pass.feed(places);
        pass.program.run();
        const found = pass.read();
        for (const [row, at] of places.entries()) yield [at, found(row)];
      }
    }
  } finally {
    for (const { program } of passes.values()) program[Symbol.dispose]();
  }
}

/** Reads [rows], a number for each. */
export function numbersOf(program: Program, found: Tensor): () => (row: number) => number {
  return () => {
    const values = program.read(found);
    return (row) => values[row]!;
  };
}
