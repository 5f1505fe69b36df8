/** What a training stage must say; everything else about training is `fit`'s. */
import type { Scratch } from "../autograd/scratch";
import type { Slab } from "../model/slab";
import type { Tensor } from "../tensor/tensor";

export type Values = Readonly<Record<string, Float32Array | Uint32Array>>;

/** The graph of one micro-batch. A stage may have several, such as one for each length of its rows. */
export interface Graph {
  readonly inputs: Readonly<Record<string, Tensor>>;
  /** [1]. A step's loss is the sum over its micro-batches, so each is already divided by the step's count of targets. */
  readonly loss: Tensor;
  /** [k]: the loss, then what else is told of a step, added up over its micro-batches likewise. */
  readonly sums: Tensor;
  /** Values of inputs that never change. */
  readonly constants: Values;
}

/** One micro-batch: a value for each input that changes. The arrays may be reused for the next. */
export interface Batch {
  /** Which of the stage's graphs it is for. */
  readonly graph: number;
  readonly values: Values;
}

/** How far a run has come after some steps. */
export interface Counts {
  /** Tokens that were read, padding left out. */
  readonly num_tokens: number;
  /** Passes over the data. */
  readonly epoch: number;
}

export interface Stage {
  /** What is trained. Anything else in the graph is frozen simply by not being listed here. */
  readonly weights: Slab;
  /** Weights that the graph reads besides. They cost no gradients and no moments. */
  readonly frozen: readonly Slab[];
  /** The largest last. */
  readonly graphs: readonly Graph[];
  /** What training and evaluation work out on the way: they take turns. */
  readonly scratch: Scratch;
  /** What the elements of `sums` are called; the first is the loss. */
  readonly names: readonly string[];
  /** Of what it is trained on, by name, such as data: a run does not go on with another. */
  readonly fingerprints: Readonly<Record<string, string>>;
  /** Optimizer steps in all. */
  readonly steps: number;
  counts(step: number): Counts;
  /** Micro-batches of a step, where that is not always `batch.accumulate`. */
  microBatches?(step: number): number;
  /** Micro-batches from a step on: a function of (seed, step). On-policy stages sample the policy in here. */
  batches(firstStep: number): AsyncIterator<Batch>;
  /** Loss on held-out data. */
  evaluate(): number;
  /** Lines that say, before the first step, what is measured and what it should be. */
  start(): string[];
  /** A few continuations, to be read. */
  samples(): string[];
  /** Writes what was trained into a directory, and reads it back. */
  writeModel(directory: string): Promise<void>;
  readModel(directory: string): void;
}
