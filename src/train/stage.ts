/** What a training stage must say; everything else about training is `fit`'s. */
import type { Slab } from "../model/slab";
import type { Tensor } from "../tensor/tensor";

/** One micro-batch: a value for each input of the graph. Its arrays may be reused for the next. */
export type Batch = Readonly<Record<string, Float32Array | Uint32Array>>;

export interface Stage {
  /** What is trained. Anything else in the graph is frozen simply by not being listed here. */
  readonly weights: Slab;
  /** The graph of one micro-batch. */
  readonly inputs: Readonly<Record<string, Tensor>>;
  /** [1]. A step's loss is the sum over its micro-batches, so each is already divided by the step's count of targets. */
  readonly loss: Tensor;
  /** Values of inputs that never change. */
  readonly constants: Batch;
  /** Tokens of a step, for the throughput. */
  readonly tokensPerStep: number;
  /** Micro-batches from a step on: a function of (seed, step). On-policy stages sample the policy in here. */
  batches(firstStep: number): AsyncIterator<Batch>;
  /** Loss on held-out text. */
  evaluate(): number;
  /** A few continuations, to be read. */
  samples(): string[];
  /** Writes the model into a directory. */
  writeModel(directory: string): Promise<void>;
}
