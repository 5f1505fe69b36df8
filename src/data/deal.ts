/** Which examples go into which micro-batch, for every step: a function of (seed, step). */
import { UserError } from "../errors";
import { shuffled } from "./choose";
import type { Example } from "./examples";

export interface DealOptions {
  /** Rows of a micro-batch, and tokens of a row. */
  readonly rows: number;
  readonly tokens: number;
  /** Micro-batches of a step. */
  readonly accumulate: number;
  /** Several examples a row, by best fit, instead of one and padding. */
  readonly packing: boolean;
  readonly shuffle: boolean;
  readonly seed: number;
}

export interface MicroBatch {
  /** Which of the deal's lengths its rows have. */
  readonly graph: number;
  /** Examples of each row. */
  readonly rows: readonly (readonly number[])[];
  /** Of its examples, padding left out. */
  readonly tokens: number;
}

export interface Step {
  readonly micro: readonly MicroBatch[];
  /** Tokens that are to be predicted, over all micro-batches. */
  readonly targets: number;
}

export interface Deal {
  /** Tokens of a row, for each graph. */
  readonly lengths: readonly number[];
  readonly stepsPerEpoch: number;
  step(step: number): Step;
  /** The most targets of a micro-batch of each graph, over the first `steps` steps. */
  mostTargets(steps: number): number[];
}

/** Lengths into which rows are padded: the whole, and halves of it down to an eighth, as far as they are of use. */
const BUCKETS = 4;

export function dealOf(examples: readonly Example[], options: DealOptions): Deal {
  const { rows, tokens, accumulate, packing, shuffle, seed } = options;
  const sizes = examples.map(({ ids }) => ids.length);
  const over = examples.find(({ ids }) => ids.length > tokens);
  if (over) throw new UserError(`${over.where} has ${over.ids.length} tokens, and a row ${tokens}`);
  const packed = packing ? bestFit(sizes, tokens) : examples.map((_, i) => [i]);
  const lengths = packing ? [tokens] : bucketLengths(sizes, tokens);
  const graphOf = packed.map((row) => lengths.findIndex((length) => sumOf(row, sizes) <= length));
  const inGraph = lengths.map((_, graph) => packed.flatMap((_, row) => (graphOf[row] === graph ? [row] : [])));
  const microPerEpoch = inGraph.reduce((sum, { length }) => sum + Math.ceil(length / rows), 0);
  const stepsPerEpoch = Math.ceil(microPerEpoch / accumulate);

  const epochOf = (epoch: number): Step[] => {
    const order = (count: number, stream: number) =>
      shuffle ? shuffled(count, seed, 1000 + 10 * epoch + stream) : Array.from({ length: count }, (_, i) => i);
    const micro = inGraph.flatMap((list, graph) => {
      const drawn = order(list.length, graph).map((i) => packed[list[i]!]!);
      return chunks(drawn, rows).map((rows) => ({ graph, rows, tokens: sumOf(rows.flat(), sizes) }));
    });
    const mixed = order(micro.length, lengths.length).map((i) => micro[i]!);
    return chunks(mixed, accumulate).map((micro) => {
      const used = micro.flatMap(({ rows }) => rows.flat());
      return { micro, targets: used.reduce((sum, i) => sum + examples[i]!.targets, 0) };
    });
  };
  let last = { epoch: -1, steps: [] as Step[] };
  const steps = (epoch: number) => {
    if (last.epoch !== epoch) last = { epoch, steps: epochOf(epoch) };
    return last.steps;
  };
  return {
    lengths,
    stepsPerEpoch,
    step: (step) => steps(Math.floor(step / stepsPerEpoch))[step % stepsPerEpoch]!,
    mostTargets(count) {
      const most = lengths.map(() => 0);
      for (let epoch = 0; epoch * stepsPerEpoch < count; epoch++) {
        for (const { graph, rows } of steps(epoch).flatMap(({ micro }) => micro)) {
          const targets = rows.flat().reduce((sum, i) => sum + examples[i]!.targets, 0);
          most[graph] = Math.max(most[graph]!, targets);
        }
      }
      return most;
    },
  };
}

function sumOf(row: readonly number[], sizes: readonly number[]): number {
  return row.reduce((sum, i) => sum + sizes[i]!, 0);
}

function chunks<T>(items: readonly T[], size: number): T[][] {
  return Array.from({ length: Math.ceil(items.length / size) }, (_, i) => items.slice(i * size, (i + 1) * size));
}

/** The lengths that at least one example needs, ascending. */
function bucketLengths(sizes: readonly number[], tokens: number): number[] {
  const all = Array.from({ length: BUCKETS }, (_, i) => Math.ceil(tokens / 2 ** (BUCKETS - 1 - i)));
  const distinct = [...new Set(all)].filter((length) => length >= Math.min(16, tokens));
  return distinct.filter((length, i) => sizes.some((size) => size <= length && size > (distinct[i - 1] ?? 0)));
}

/**
 * Best-fit decreasing: the longest first, each into the fullest row that still has room (https://doi.org/10.1137/0203025). Nothing is
 * cut, and no row is longer than `capacity`.
 */
export function bestFit(sizes: readonly number[], capacity: number): number[][] {
  const order = sizes.map((_, i) => i).sort((a, b) => sizes[b]! - sizes[a]! || a - b);
  const rows: number[][] = [];
  const withRoom: number[][] = Array.from({ length: capacity + 1 }, () => []);
  for (const i of order) {
    const size = sizes[i]!;
    let room = size;
    while (room <= capacity && withRoom[room]!.length === 0) room++;
    const fits = room <= capacity;
    const row = fits ? withRoom[room]!.pop()! : rows.push([]) - 1;
    rows[row]!.push(i);
    withRoom[(fits ? room : capacity) - size]!.push(row);
  }
  return rows;
}
