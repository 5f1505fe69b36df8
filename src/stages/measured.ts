/** What training tells of a step, measured on examples that are not trained on. */
import { Program } from "../autograd/program";
import type { Scratch } from "../autograd/scratch";
import { type Dealt, dealOf } from "../data/deal";
import type { Device } from "../device/device";
import { bindAll, type Slab } from "../model/slab";
import { tick } from "../tick";
import type { Graph, Values } from "../train/stage";

/** The graph of micro-batches of one length, and what it is fed. */
export interface Feeding<T> {
  readonly graph: Graph;
  /** What `sums` are called. */
  readonly names: readonly string[];
  /** For some of the items that a mean is over. The arrays are used again for the next. */
  fill(batch: readonly T[], all: readonly T[]): Values;
}

export interface Measuring<T> {
  readonly items: readonly T[];
  dealt(item: T): Dealt;
  feeding(length: number, targets: number): Feeding<T>;
  readonly slabs: readonly Slab[];
  readonly scratch: Scratch;
  /** Rows of a micro-batch, and tokens of a row at most. */
  readonly rows: number;
  readonly tokens: number;
  /** Micro-batches at most, spread evenly. */
  readonly batches: number;
  /** Before the first of them, with all that is measured. */
  before?(all: readonly T[]): void;
}

export interface Measured<T> extends Disposable {
  /** What is measured. */
  readonly all: readonly T[];
  /** Means over the items, by the names of the metrics; null where `signal` was aborted first. */
  values(signal?: AbortSignal): Promise<Readonly<Record<string, number>> | null>;
}

export function measuredOn<T>(
  device: Device,
  { items, dealt, feeding, slabs, scratch, rows, tokens, batches, before }: Measuring<T>,
): Measured<T> {
  const deal = dealOf(items.map(dealt), {
    rows,
    tokens,
    accumulate: 1,
    shuffle: false,
    fine: true,
    fixed: true,
    seed: 0,
  });
  const count = Math.min(deal.stepsPerEpoch, batches);
  const chosen = Array.from({ length: count }, (_, i) =>
    deal.step(Math.floor(((i + 0.5) * deal.stepsPerEpoch) / count)),
  ).flatMap(({ micro }) => micro.map(({ graph, rows }) => ({ graph, batch: rows.flat().map((at) => items[at]!) })));
  const all = chosen.flatMap(({ batch }) => batch);
  const most = deal.mostTargets(deal.stepsPerEpoch);
  const bind = bindAll(slabs);
  const compiled = new Map<number, Feeding<T> & { readonly program: Program }>();
  const compile = (at: number) => {
    const known = compiled.get(at);
    if (known) return known;
    const made = feeding(deal.lengths[at]!, most[at]!);
    const program = new Program(device, [made.graph.sums], { bind, scratch });
    for (const [name, values] of Object.entries(made.graph.constants)) program.feed(made.graph.inputs[name]!, values);
    compiled.set(at, { ...made, program });
    return compiled.get(at)!;
  };
  return {
    all,
    async values(signal) {
      const sums = new Map<string, number>();
      before?.(all);
      for (const { graph: at, batch } of chosen) {
        await tick();
        if (signal?.aborted) return null;
        const { graph, names, fill, program } = compile(at);
        for (const [name, values] of Object.entries(fill(batch, all))) program.feed(graph.inputs[name]!, values);
        program.run();
        const found = program.read(graph.sums);
        names.forEach((name, i) => {
          sums.set(name, (sums.get(name) ?? 0) + found[i]!);
        });
      }
      return Object.fromEntries(sums);
    },
    [Symbol.dispose]() {
      for (const { program } of compiled.values()) program[Symbol.dispose]();
    },
  };
}
