/** What a training stage must say; everything else about training is `fit`'s. */
import type { Scratch } from "../autograd/scratch";
import type { Slab } from "../model/slab";
import type { Trained } from "../optim/optimizer";
import type { Tensor } from "../tensor/tensor";
import type { Share } from "./world";

export type Values = Readonly<Record<string, Float32Array | Uint32Array>>;

/** What JSON can hold. */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };

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
  /** Tokens that it reads, padding left out. */
  readonly tokens: number;
  /** What only the host knows of it, such as rewards and lengths: added up over the step, so each is already divided by its count. */
  readonly metrics?: Readonly<Record<string, number>>;
}

/** What was measured on held-out data. */
export interface Evaluation {
  /** By the names that metrics have: validation_loss. */
  readonly values: Readonly<Record<string, number>>;
  /** The larger the better: chooses the best checkpoint. */
  readonly score: number;
}

export interface Start {
  readonly lines: readonly string[];
  /** Of held-out data: the metrics of step 0. Null where nothing is held out. */
  readonly held: Evaluation | null;
}

export interface Stage extends Disposable {
  /** What is trained: a model, an adapter, or several such as a policy and its critic. Anything else in the graphs is frozen. */
  readonly trained: readonly Trained[];
  /** Weights that the graphs read besides. They cost no gradients and no moments. */
  readonly frozen: readonly Slab[];
  /** The largest last. */
  readonly graphs: readonly Graph[];
  /** What training and evaluation work out on the way: they take turns. */
  readonly scratch: Scratch;
  /** What the first elements of `sums` are called; the first is the loss. */
  readonly names: readonly string[];
  /** Of what it is trained on, by name, such as data: a run does not go on with another. */
  readonly fingerprints: Readonly<Record<string, string>>;
  /** Optimizer steps in all. */
  readonly steps: number;
  /**
   * Steps on one rollout; 1 where data are given. A round that is cut off goes on from `state`; of a stage without any it begins again,
   * since checkpoints are then saved only between rounds.
   */
  readonly round: number;
  /**
   * The micro-batches of a step as they become known, of which a rank yields its share: a function of (seed, step), of the weights at
   * the round's start, and of `state`. A step may be asked for again.
   */
  step(step: number, share: Share): AsyncIterable<Batch>;
  /** Measures held-out data; null where `signal` was aborted first. */
  evaluate(signal: AbortSignal): Promise<Evaluation | null>;
  /** Before the first step: what is measured, and what it should be. */
  start(): Promise<Start>;
  /** A few continuations, to be read, as they come; fewer where `signal` was aborted. */
  samples(signal: AbortSignal): AsyncIterable<string> | Iterable<string>;
  /** Writes what was trained into a directory, and reads it back. */
  write(directory: string): Promise<void>;
  read(directory: string): void;
  /** What else a resumed run must know: a rollout under way, an adaptive coefficient. Kept in the checkpoint. */
  readonly state?: { save(): Json; load(json: Json): void };
}
