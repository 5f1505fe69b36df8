/** A micro-batch of pairs as one forward pass: chosen answers in its first rows, rejected ones in as many behind, and a loss over both. */

import { type BatchArrays, batchArrays, fillBatch } from "../data/layout";
import type { PairExample } from "../data/pairs";
import type { HiddenOptions } from "../model/architecture";
import { type Completions, completionInputs, completions, told } from "../model/completions";
import type { Model } from "../model/model";
import type { Pairs, Side } from "../model/pair-losses";
import { add } from "../ops/add";
import { scale } from "../ops/elementwise";
import { matmul } from "../ops/matmul";
import { concat, slice } from "../ops/parts";
import { sum } from "../ops/reduce";
import { sizeOf } from "../tensor/shape";
import { detach, input, type Tensor, view } from "../tensor/tensor";
import type { Graph, Values } from "../train/stage";

/** What a loss of pairs sees. */
export interface Compared extends Pairs {
  /** Of both sides, chosen first: [2 P]. */
  readonly completions: Completions;
}

export interface Objective {
  /** Of each pair, [P]: the loss, and what is told of it, by name. Their means over the step are logged. */
  (pairs: Compared): { readonly loss: Tensor; readonly told: Readonly<Record<string, Tensor>> };
}

export interface PairGraphOptions extends Omit<HiddenOptions, "cache" | "starts" | "dropout"> {
  /** Pairs of a micro-batch. */
  readonly pairs: number;
  /** Tokens that are predicted, of both sides. */
  readonly targets: number;
  /** A model whose log-probabilities are the reference, computed with each step; else they are fed. */
  readonly reference?: Model | undefined;
  /** Tokens count differently: LD-DPO. */
  readonly weighted?: boolean;
}

export interface PairGraph extends Graph {
  /** What `sums` are called. */
  readonly names: readonly string[];
}

export function pairGraph(
  model: Model,
  objective: Objective,
  { pairs: P, targets: count, reference: live, weighted = false, ...options }: PairGraphOptions,
): PairGraph {
  const asked = completionInputs(2 * P * options.length, count);
  const tokenWeights = weighted ? input("weights of the targets", [count]) : undefined;
  const lengths = input("lengths", [2 * P]);
  const weights = input("weights", [P]);
  const meanLength = input("mean length", [1]);
  const perToken = input("1 / tokens", [3]);
  const given = { count: 2 * P, weights: tokenWeights, ...options };
  const fed = live ? undefined : input("reference", [2 * P]);
  const reference = fed ?? detach(completions(live!, asked, given).logProbs);
  const found = completions(model, asked, given);
  const half = (x: Tensor, which: 0 | 1) => slice(x, { first: which * P, count: P });
  const side = (which: 0 | 1): Side => ({
    logProbs: half(found.logProbs, which),
    reference: half(reference, which),
    lengths: half(lengths, which),
  });
  const [chosen, rejected] = [side(0), side(1)];
  const of = objective({ chosen, rejected, weights, meanLength, completions: found });
  const mean = (x: Tensor) => dot(x, weights);
  const [perChosen, perRejected, perAny] = [0, 1, 2].map((first) => slice(perToken, { first, count: 1 })) as [
    Tensor,
    Tensor,
    Tensor,
  ];
  const ofTokens = (which: Parameters<typeof told>[1], side: 0 | 1, share: Tensor) =>
    scale(sum(half(told(found, which), side)), share);
  const loss = mean(of.loss);
  const sums: readonly (readonly [string, Tensor])[] = [
    ["loss", loss],
    ...Object.entries(of.told).map(([name, x]) => [name, mean(x)] as const),
    ["logps/chosen", mean(chosen.logProbs)],
    ["logps/rejected", mean(rejected.logProbs)],
    ["logits/chosen", ofTokens("mean logit", 0, perChosen)],
    ["logits/rejected", ofTokens("mean logit", 1, perRejected)],
    ["entropy", add(ofTokens("entropy", 0, perAny), ofTokens("entropy", 1, perAny))],
    ["mean_token_accuracy", ofTokens("likeliest", 0, perChosen)],
  ];
  return {
    inputs: {
      ...asked,
      lengths,
      weights,
      meanLength,
      perToken,
      ...(fed && { reference: fed }),
      ...(tokenWeights && { tokenWeights }),
    },
    loss,
    sums: concat(sums.map(([, x]) => detach(x))),
    names: sums.map(([name]) => name),
    constants: {},
  };
}

/** [n], [n] -> [1]. */
function dot(x: Tensor, y: Tensor): Tensor {
  const size = sizeOf(x.shape);
  return view(matmul(view(x, [1, size]), view(y, [size, 1])), [1]);
}

/** What a micro-batch of pairs is fed as. The arrays are used again. */
export interface PairArrays extends BatchArrays {
  readonly lengths: Float32Array;
  readonly weights: Float32Array;
  readonly meanLength: Float32Array;
  readonly perToken: Float32Array;
  readonly reference: Float32Array;
  readonly tokenWeights: Float32Array;
}

export function pairArrays(pairs: number, length: number, targets: number): PairArrays {
  return {
    ...batchArrays(2 * pairs, length, targets),
    lengths: new Float32Array(2 * pairs),
    weights: new Float32Array(pairs),
    meanLength: new Float32Array(1),
    perToken: new Float32Array(3),
    reference: new Float32Array(2 * pairs),
    tokenWeights: new Float32Array(targets),
  };
}

/** Of the pairs that a mean is over, those of a step: how many, and the tokens of their answers. */
export interface Counts {
  readonly pairs: number;
  readonly chosen: number;
  readonly rejected: number;
}

export function countsOf(pairs: readonly PairExample[]): Counts {
  return {
    pairs: pairs.length,
    chosen: pairs.reduce((sum, { chosen }) => sum + chosen.targets, 0),
    rejected: pairs.reduce((sum, { rejected }) => sum + rejected.targets, 0),
  };
}

/** Log-probabilities under the reference of a pair's two sides. */
export interface Reference {
  readonly chosen: number;
  readonly rejected: number;
}

/** A pair with what else is fed of it. */
export interface Prepared {
  readonly pair: PairExample;
  /** Absent where the reference is live, or there is none. */
  readonly reference?: Reference | undefined;
  /** What each target of the two sides counts for. */
  readonly weights?: { readonly chosen: Float32Array; readonly rejected: Float32Array } | undefined;
}

/** Empty rows stand for pairs that are not there: they have no tokens, length 1 and weight 0. */
export function fillPairs(
  batch: readonly Prepared[],
  { pairs, chosen, rejected }: Counts,
  length: number,
  into: PairArrays,
): void {
  const P = into.weights.length;
  const sides = batch.flatMap(({ pair }) => [pair.chosen, pair.rejected]);
  const rows = Array.from({ length: 2 * P }, (_, row) => {
    const at = row % P;
    return at < batch.length ? [2 * at + Math.floor(row / P)] : [];
  });
  fillBatch(sides, rows, length, into);
  into.tokenWeights.fill(1);
  into.weights.fill(0).fill(1 / pairs, 0, batch.length);
  into.lengths.fill(1);
  into.reference.fill(0);
  into.meanLength[0] = chosen / pairs;
  into.perToken.set([1 / chosen, 1 / rejected, 1 / (chosen + rejected)]);
  batch.forEach(({ pair, reference }, at) => {
    into.lengths[at] = pair.chosen.targets;
    into.lengths[P + at] = pair.rejected.targets;
    into.reference[at] = reference?.chosen ?? 0;
    into.reference[P + at] = reference?.rejected ?? 0;
  });
  let target = 0;
  for (const key of ["chosen", "rejected"] as const) {
    for (const { pair, weights } of batch) {
      if (weights) into.tokenWeights.set(weights[key], target);
      target += pair[key].targets;
    }
  }
}

/** Those of the arrays that a graph asks for. */
export function fedTo({ inputs }: Graph, arrays: PairArrays): Values {
  return Object.fromEntries(Object.keys(inputs).map((name) => [name, arrays[name as keyof PairArrays]]));
}
