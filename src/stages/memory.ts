/** How much device memory a model needs, known before anything is allocated: the plan is a pure function of the graph. */

import { plan, planBytes, slotBytes } from "../autograd/plan";
import { shared } from "../autograd/scratch";
import { decoderBytes } from "../generate/passes";
import type { Model } from "../model/model";
import { nextToken } from "../model/next-token";
import type { Parameters } from "../model/parameters";
import { muonBytes } from "../optim/muon";
import { momentsOf, type RuleName } from "../optim/optimizer";
import type { Tensor } from "../tensor/tensor";
import { trainingGraph } from "../train/program";
import type { Graph, Stage } from "../train/stage";

export interface Memory {
  /** As they are stored, adapters included. */
  readonly weightsBytes: number;
  /** Weights, and a decoder of one sequence of the whole context: key-value cache, what its tokens are drawn by, activations. */
  readonly inferenceBytes: number;
  /** Weights, and of what is trained gradients and two moments, and everything that lives during a micro-batch. */
  readonly trainingBytes: number;
  /** The largest tensor, which must fit one binding. */
  readonly largestBytes: number;
}

export interface MemoryOptions {
  readonly rows: number;
  readonly tokens: number;
  readonly recompute: boolean;
  readonly activations?: "f32" | "bf16";
  /** AdamW if absent. */
  readonly optimizer?: RuleName;
}

/** Of a model whose adapters are trained if it has any, else all of it. */
export function memoryOf(
  model: Model,
  { rows, tokens: length, recompute, activations = "f32", optimizer }: MemoryOptions,
): Memory {
  const { parameters, adapters, config } = model;
  const all = [parameters, ...adapters.map(({ parameters }) => parameters)];
  const weightsBytes = all.reduce((sum, { bytes }) => sum + bytes, 0);

  const trained = adapters.at(-1)?.parameters ?? parameters;
  const graph = nextToken(model, { rows, length, recompute, activations });
  const training = microBatchPlan(graph, [trained], all);
  return {
    weightsBytes,
    inferenceBytes: weightsBytes + decoderBytes(model, { slots: 1, capacity: config.context }),
    trainingBytes: weightsBytes + optimizerBytes(trained, optimizer) + planBytes(training),
    largestBytes: Math.max(
      ...all.flatMap(({ list }) => list.map(({ sizeBytes }) => sizeBytes)),
      ...training.slotSizes.map((size) => 4 * size),
    ),
  };
}

/** What a stage takes while it trains: its weights, those it only reads, the optimizer's slabs, and its micro-batches. */
export function stageBytes(
  { trained, frozen, graphs }: Pick<Stage, "trained" | "frozen" | "graphs">,
  optimizer?: RuleName,
): number {
  const updated = trained.map(({ weights }) => weights.parameters);
  const all = [...updated, ...frozen.map(({ parameters }) => parameters)];
  const held = all.reduce((sum, { bytes }) => sum + bytes, 0);
  let inputs = 0;
  let sizes: readonly number[] = [];
  for (const graph of graphs.toReversed()) {
    const { slotSizes, fedSlots } = microBatchPlan(graph, updated, all);
    inputs += slotBytes(slotSizes.slice(0, fedSlots));
    ({ sizes } = shared(sizes, slotSizes.slice(fedSlots)));
  }
  return (
    held +
    updated.reduce((sum, parameters) => sum + optimizerBytes(parameters, optimizer), 0) +
    inputs +
    slotBytes(sizes)
  );
}

/** Gradients and moments, in float32, and what a step works out on the way. */
export function optimizerBytes(parameters: Parameters, kind: RuleName = "adamw"): number {
  return (1 + momentsOf({ kind })) * 4 * parameters.size + (kind === "muon" ? muonBytes(parameters) : 0);
}

function microBatchPlan(
  graph: Pick<Graph, "loss" | "sums">,
  trained: readonly Parameters[],
  all: readonly Parameters[],
) {
  const { outputs, slices, total } = trainingGraph(graph, trained);
  return plan(outputs, new Set([...tensorsOf(all), ...slices.flat(), total]));
}

function tensorsOf(all: readonly Parameters[]): Tensor[] {
  return all.flatMap(({ list }) => list.map(({ tensor }) => tensor));
}
