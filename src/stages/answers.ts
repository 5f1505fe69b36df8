/** The loss of answers: its graph over a micro-batch, and its mean over held-out examples. */

import { Program } from "../autograd/program";
import type { Scratch } from "../autograd/scratch";
import { dealOf } from "../data/deal";
import { dealt, type Example } from "../data/examples";
import { type BatchArrays, batchArrays, fillBatch } from "../data/layout";
import type { Device } from "../device/device";
import { expectFinite } from "../eval/perplexity";
import type { HiddenOptions } from "../model/architecture";
import type { HeadLossOf } from "../model/distillation";
import type { HeadLoss } from "../model/head";
import type { Model } from "../model/model";

import { dft as dftLoss, nll } from "../model/row-losses";
import { bindAll } from "../model/slab";
import { gather } from "../ops/gather";
import { input, type Tensor } from "../tensor/tensor";
import { tick } from "../tick";
import type { Evaluation, Graph } from "../train/stage";
import type { TrainedModel } from "./trained";

interface GraphOptions extends Omit<HiddenOptions, "cache" | "starts"> {
  readonly rows: number;
  /** Places that are predicted: the head computes no others. */
  readonly targets: number;
  readonly packing: boolean;
  /** Weights each target's loss by its probability. */
  readonly dft?: boolean;
  /** The cross-entropy if absent. */
  readonly lossOf?: HeadLossOf | undefined;
}

/** The loss of the answers in a micro-batch. */
export function answerGraph(
  model: Model,
  { rows, targets: count, packing, dft = false, lossOf, ...options }: GraphOptions,
): Graph & Pick<HeadLoss, "metrics"> {
  const size = rows * options.length;
  const [tokens, positions, starts] = ["tokens", "positions", "starts"].map((name) => input(name, [size], "u32")) as [
    Tensor,
    Tensor,
    Tensor,
  ];
  const [places, targets] = [input("places", [count], "u32"), input("targets", [count], "u32")];
  const weight = input("weight", [1]);
  const hidden = model.hidden(tokens, positions, { ...options, ...(packing && { starts }) });
  const at = (x: Tensor) => gather(x, places);
  const drop = { dropout: options.dropout };
  const shape = { length: options.length, ...(packing && { starts }) };
  const { loss, sums, metrics } = lossOf
    ? lossOf(model, at(hidden), { tokens, positions, ...shape, rows: at, targets, weight }, drop)
    : model.loss(at(hidden), dft ? dftLoss(targets) : nll(targets), weight, drop);
  const seed = options.dropout && { dropoutSeed: options.dropout.seed };
  const inputs = { tokens, positions, ...(packing && { starts }), places, targets, weight, ...seed };
  return { inputs, loss, sums, metrics, constants: {} };
}

/** What a micro-batch is fed as. */
export function valuesOf({ starts, completions: _, ...values }: BatchArrays, packing: boolean) {
  return { ...values, ...(packing && { starts }) };
}

export interface HeldOut {
  readonly held: readonly Example[];
  readonly scratch: Scratch;
  /** Rows of a micro-batch, and tokens of a row. */
  readonly rows: number;
  readonly length: number;
  /** Micro-batches at most, spread evenly. */
  readonly batches: number;
}

/** Loss a token of the held-out examples, without dropout; null where it was interrupted. */
export function heldOutLoss(
  device: Device,
  { model, slabs }: Pick<TrainedModel, "model" | "slabs">,
  { held, scratch, rows, length, batches }: HeldOut,
): { loss(signal?: AbortSignal): Promise<number | null> } & Disposable {
  const deal = dealOf(held.map(dealt), {
    rows,
    tokens: length,
    accumulate: 1,
    packing: false,
    shuffle: false,
    seed: 0,
  });
  const count = Math.min(deal.stepsPerEpoch, batches);
  const chosen = Array.from({ length: count }, (_, i) =>
    deal.step(Math.floor(((i + 0.5) * deal.stepsPerEpoch) / count)),
  );
  const most = deal.mostTargets(deal.stepsPerEpoch);
  const bind = bindAll(slabs);
  const compiled = new Map<number, { graph: Graph; program: Program; arrays: BatchArrays }>();
  const compile = (at: number) => {
    let made = compiled.get(at);
    if (made) return made;
    const length = deal.lengths[at]!;
    const graph = answerGraph(model, { rows, length, targets: most[at]!, packing: false });
    made = {
      graph,
      program: new Program(device, [graph.loss], { bind, scratch }),
      arrays: batchArrays(rows, length, most[at]!),
    };
    made.program.feed(graph.inputs.weight!, new Float32Array([1]));
    compiled.set(at, made);
    return made;
  };
  return {
    async loss(signal) {
      let nats = 0;
      for (const { micro } of chosen) {
        await tick();
        if (signal?.aborted) return null;
        for (const { graph: at, rows } of micro) {
          const { graph, program, arrays } = compile(at);
          fillBatch(held, rows, deal.lengths[at]!, arrays);
          for (const [name, values] of Object.entries(valuesOf(arrays, false)))
            program.feed(graph.inputs[name]!, values);
          program.run();
          nats += program.read(graph.loss)[0]!;
        }
      }
      return nats / chosen.reduce((sum, { targets }) => sum + targets, 0);
    },
    [Symbol.dispose]() {
      for (const { program } of compiled.values()) program[Symbol.dispose]();
    },
  };
}

/** A loss as what `fit` chooses checkpoints by. */
export function lossAsEvaluation(loss: number | null): Evaluation | null {
  if (loss === null) return null;
  expectFinite(loss, "what is held out");
  return { values: { validation_loss: loss }, score: -loss };
}
