/** How much device memory a model needs, known before anything is allocated: the plan is a pure function of the graph. */
import { plan, planBytes } from "../autograd/plan";
import { cacheTensors, type Gpt2 } from "../model/gpt2";
import { nextToken } from "../model/next-token";
import { input } from "../tensor/tensor";
import { trainingGraph } from "../train/fit";

export interface Memory {
  /** As they are stored. */
  readonly weightsBytes: number;
  /** Weights, key-value cache and activations of one sequence of the whole context. */
  readonly inferenceBytes: number;
  /** Weights, gradients, two moments, and everything that lives during a micro-batch. */
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

export function memoryOf(model: Gpt2, { rows, tokens: length, recompute, activations = "f32" }: MemoryOptions): Memory {
  const { parameters, config } = model;
  const weightsBytes = parameters.bytes;
  const bound = parameters.list.map(({ tensor }) => tensor);

  const tokens = input("tokens", [config.context], "u32");
  const positions = input("positions", [config.context], "u32");
  const layers = cacheTensors(config, 1, config.context);
  const cache = { layers: [...layers], positions: input("starts", [1], "u32") };
  const hidden = model.hidden(tokens, positions, { length: config.context, cache });
  const inference = plan([hidden, ...cache.layers], new Set([...bound, ...layers]));
  const cacheBytes = layers.length * 4 * config.context * 2 * config.width;

  const graph = trainingGraph(nextToken(model, { rows, length, recompute, activations }), parameters);
  const training = plan(graph.outputs, new Set([...bound, ...graph.slices, graph.total]));
  return {
    weightsBytes,
    inferenceBytes: weightsBytes + cacheBytes + planBytes(inference),
    trainingBytes: 4 * weightsBytes + planBytes(training),
    largestBytes: Math.max(
      ...parameters.list.map(({ size }) => 4 * size),
      ...training.slotSizes.map((size) => 4 * size),
    ),
  };
}
