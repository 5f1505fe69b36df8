/** How much device memory a model needs, known before anything is allocated: the plan is a pure function of the graph. */

import { plan, planBytes, slotBytes } from "../autograd/plan";
import { shared } from "../autograd/scratch";
import { cacheTensors } from "../model/architecture";
import type { Model } from "../model/model";

import { nextToken } from "../model/next-token";
import type { Parameters } from "../model/parameters";
import { input, type Tensor } from "../tensor/tensor";
import { trainingGraph } from "../train/program";
import type { Graph, Stage } from "../train/stage";

export interface Memory {
  /** As they are stored, adapters included. */
  readonly weightsBytes: number;
  /** Weights, key-value cache and activations of one sequence of the whole context. */
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
}

/** Of a model whose adapters are trained if it has any, else all of it. */
export function memoryOf(
  model: Model,
  { rows, tokens: length, recompute, activations = "f32" }: MemoryOptions,
): Memory {
  const { parameters, adapters, config } = model;
  const all = [parameters, ...adapters.map(({ parameters }) => parameters)];
  const weightsBytes = all.reduce((sum, { bytes }) => sum + bytes, 0);

  const tokens = input("tokens", [config.context], "u32");
  const positions = input("positions", [config.context], "u32");
  const layers = cacheTensors(config, 1, config.context);
  const cache = { layers: [...layers], positions: input("starts", [1], "u32") };
  const hidden = model.hidden(tokens, positions, { length: config.context, cache });
  const inference = plan([hidden, ...cache.layers], new Set([...tensorsOf(all), ...layers]));
  const cacheBytes = layers.length * 4 * config.context * 2 * config.width;

  const trained = adapters.at(-1)?.parameters ?? parameters;
  const graph = nextToken(model, { rows, length, recompute, activations });
  const training = planOf(graph, [trained], all);
  return {
    weightsBytes,
    inferenceBytes: weightsBytes + cacheBytes + planBytes(inference),
    trainingBytes: weightsBytes + optimizerBytes(trained) + planBytes(training),
    largestBytes: Math.max(
      ...all.flatMap(({ list }) => list.map(({ sizeBytes }) => sizeBytes)),
      ...training.slotSizes.map((size) => 4 * size),
    ),
  };
}

/** What a stage takes while it trains: its weights, those it only reads, the optimizer's slabs, and its micro-batches. */
export function stageBytes({ trained, frozen, graphs }: Pick<Stage, "trained" | "frozen" | "graphs">): number {
  const updated = trained.map(({ weights }) => weights.parameters);
  const all = [...updated, ...frozen.map(({ parameters }) => parameters)];
  const held = all.reduce((sum, { bytes }) => sum + bytes, 0);
  let inputs = 0;
  let sizes: readonly number[] = [];
  for (const graph of graphs.toReversed()) {
    const { slotSizes, fedSlots } = planOf(graph, updated, all);
    inputs += slotBytes(slotSizes.slice(0, fedSlots));
    ({ sizes } = shared(sizes, slotSizes.slice(fedSlots)));
  }
  return held + updated.reduce((sum, parameters) => sum + optimizerBytes(parameters), 0) + inputs + slotBytes(sizes);
}

/** Gradients and two moments, in float32. */
export function optimizerBytes({ size }: Parameters): number {
  return 3 * 4 * size;
}

function planOf(graph: Pick<Graph, "loss" | "sums">, trained: readonly Parameters[], all: readonly Parameters[]) {
  const { outputs, slices, total } = trainingGraph(graph, trained);
  return plan(outputs, new Set([...tensorsOf(all), ...slices.flat(), total]));
}

function tensorsOf(all: readonly Parameters[]): Tensor[] {
  return all.flatMap(({ list }) => list.map(({ tensor }) => tensor));
}
