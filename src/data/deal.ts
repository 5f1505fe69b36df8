/** Which examples go into which micro-batch, for every step: a function of (seed, step). */
import { UserError } from "../errors";
import { shuffled } from "./choose";

/** What is dealt: an example, or several that go together. */
export interface Dealt {
  /** Tokens that its longest row has. */
  readonly size: number;
  /** Rows that it takes in a micro-batch; 1 if absent. */
  readonly width?: number;
  /** Of all its rows; its size if absent. */
  readonly tokens?: number;
  /** What a step is a mean over: tokens that are to be predicted, pairs. */
  readonly targets: number;
  readonly where: string;
}

export interface DealOptions {
  /** Rows of a micro-batch, and tokens of a row. */
  readonly rows: number;
  readonly tokens: number;
  /** Micro-batches of a step. */
  readonly accumulate: number;
  /** Several examples a row, by best fit, instead of one and padding. */
  readonly packing?: boolean;
  readonly shuffle: boolean;
  /** Rows are padded to eighths of the whole length, and not to halves of halves: less padding, more programs. */
  readonly fine?: boolean;
  /** Epochs differ in the order of their steps, and not in what goes together in a step. */
  readonly fixed?: boolean;
  readonly seed: number;
}

export interface MicroBatch {
  /** Which of the deal's lengths its rows have. */
  readonly graph: number;
  /** Examples of each row; what takes several rows stands once. */
  readonly rows: readonly (readonly number[])[];
  /** Of its examples, padding left out. */
  readonly tokens: number;
}

export interface Step {
  readonly micro: readonly MicroBatch[];
  /** Over all micro-batches. */
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

/** Lengths into which rows are padded, as shares of the whole, as far as they are of use. */
const HALVES = [1 / 8, 1 / 4, 1 / 2, 1];
const EIGHTHS = [1 / 8, 1 / 4, 3 / 8, 1 / 2, 5 / 8, 3 / 4, 7 / 8, 1];

export function dealOf(items: readonly Dealt[], options: DealOptions): Deal {
  const { rows, tokens, accumulate, packing = false, shuffle, fine = false, fixed = false, seed } = options;
  const sizes = items.map(({ size }) => size);
  const widths = items.map(({ width = 1 }) => width);
  const read = items.map(({ size, tokens = size }) => tokens);
  const over = items.find(({ size }) => size > tokens);
  if (over) throw new UserError(`${over.where} has ${over.size} tokens, and a row ${tokens}`);
  const wide = items.find(({ width = 1 }) => width > rows);
  if (wide) throw new UserError(`${wide.where} takes ${wide.width} rows, and a micro-batch has ${rows}`);
  const packed = packing ? bestFit(sizes, tokens) : items.map((_, i) => [i]);
  const lengths = packing ? [tokens] : bucketLengths(sizes, tokens, fine ? EIGHTHS : HALVES);
  const graphOf = packed.map((row) => lengths.findIndex((length) => sumOf(row, sizes) <= length));
  const inGraph = lengths.map((_, graph) => packed.flatMap((_, row) => (graphOf[row] === graph ? [row] : [])));

  const orderOf = (epoch: number) => (count: number, stream: number) =>
    shuffle ? shuffled(count, seed, 1000 + 10 * epoch + stream) : Array.from({ length: count }, (_, i) => i);
  const epochOf = (epoch: number): Step[] => {
    const order = orderOf(epoch);
    const micro = inGraph.flatMap((list, graph) => {
      const drawn = order(list.length, graph).map((i) => packed[list[i]!]!);
      return filled(drawn, rows, (row) => Math.max(...row.map((i) => widths[i]!))).map((rows) => ({
        graph,
        rows,
        tokens: sumOf(rows.flat(), read),
      }));
    });
    const mixed = order(micro.length, lengths.length).map((i) => micro[i]!);
    return chunks(mixed, accumulate).map((micro) => {
      const used = micro.flatMap(({ rows }) => rows.flat());
      return { micro, targets: used.reduce((sum, i) => sum + items[i]!.targets, 0) };
    });
  };
  const reordered = (epoch: number): Step[] =>
    epoch === 0 ? first : orderOf(epoch)(first.length, 9).map((i) => first[i]!);
  const first = epochOf(0);
  const stepsPerEpoch = first.length;
  if (!fixed && new Set(widths).size > 1)
    throw new Error("where widths differ, so might the steps of an epoch: let what goes together be fixed");
  let last = { epoch: 0, steps: first };
  const steps = (epoch: number) => {
    if (last.epoch !== epoch) last = { epoch, steps: fixed ? reordered(epoch) : epochOf(epoch) };
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
          const targets = rows.flat().reduce((sum, i) => sum + items[i]!.targets, 0);
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

/** In order, as many as have room, then the next. */
function filled<T>(items: readonly T[], room: number, widthOf: (item: T) => number): T[][] {
  const parts: T[][] = [];
  let left = 0;
  for (const item of items) {
    const width = widthOf(item);
    if (width > left) {
      parts.push([]);
      left = room;
    }
    parts.at(-1)!.push(item);
    left -= width;
  }
  return parts;
}

function chunks<T>(items: readonly T[], size: number): T[][] {
  return Array.from({ length: Math.ceil(items.length / size) }, (_, i) => items.slice(i * size, (i + 1) * size));
}

/** The lengths that at least one example needs, ascending. */
function bucketLengths(sizes: readonly number[], tokens: number, shares: readonly number[]): number[] {
  const all = shares.map((share) => Math.ceil(tokens * share));
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
