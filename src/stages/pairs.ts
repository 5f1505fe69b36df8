/** A micro-batch of pairs as one forward pass: chosen answers in its first rows, rejected ones in as many behind, and a loss over both. */

import type { Dealt } from "../data/deal";
import type { Example } from "../data/examples";
import { batchArrays, fillBatch } from "../data/layout";
import type { PairExample } from "../data/pairs";
import type { HiddenOptions } from "../model/architecture";
import { type Completions, completionInputs, completions, told as statistic } from "../model/completions";
import type { Model } from "../model/model";
import type { Pairs, Side } from "../model/pair-losses";
import { add } from "../ops/add";
import { divide, scale, subtract } from "../ops/elementwise";
import { matmul } from "../ops/matmul";
import { concat, slice } from "../ops/parts";
import { sum } from "../ops/reduce";
import { segmentSum } from "../ops/segments";
import { sizeOf } from "../tensor/shape";
import { detach, input, schedule, type Tensor, view } from "../tensor/tensor";
import type { Graph, Values } from "../train/stage";
import type { Feeding } from "./measured";

/** What a loss of pairs sees. */
export interface Compared extends Pairs {
  /** Both sides, chosen first: [2 P]. */
  readonly completions: Completions;
  /** Of the chosen answers' prompts, where they are learned: [P]; and the mean length of a prompt with its answer: [1]. */
  readonly prompts: { readonly logProbs: Tensor; readonly meanLength: Tensor } | null;
  /** [2 P]: the mean over each completion's tokens of log p - log(sum of p^2): how near it is to what the model itself would say. No gradient. */
  ownness(): Tensor;
}

/** Of each pair, [P]: the loss, and what is told of it, by name. Their means over the step are logged. */
export type Objective = (pairs: Compared) => {
  readonly loss: Tensor;
  readonly told: Readonly<Record<string, Tensor>>;
};

export interface PairGraphOptions extends Omit<HiddenOptions, "cache" | "starts" | "dropout"> {
  /** Pairs of a micro-batch. */
  readonly pairs: number;
  /** Tokens that are predicted, of both sides. */
  readonly targets: number;
  /** A model whose log-probabilities are the reference, computed with each step; else they are fed. */
  readonly reference?: Model | undefined;
  /** Tokens count differently: LD-DPO. */
  readonly weighted?: boolean;
  /** The prompts of chosen answers are learned too. */
  readonly prompts?: boolean;
}

export interface PairGraph extends Graph {
  /** What `sums` are called. */
  readonly names: readonly string[];
}

export function pairGraph(
  model: Model,
  objective: Objective,
  { pairs: P, targets: count, reference: live, weighted = false, prompts = false, ...options }: PairGraphOptions,
): PairGraph {
  const asked = completionInputs(2 * P * options.length, count);
  const tokenWeights = weighted ? input("weights of the targets", [count]) : undefined;
  const lengths = input("lengths", [2 * P]);
  const weights = input("weights", [P]);
  const meanLength = input("mean length", [1]);
  const perToken = input("1 / tokens", [3]);
  const meanWhole = input("mean length with the prompt", [1]);
  const given = { count: (prompts ? 3 : 2) * P, weights: tokenWeights, ...options };
  const fed = live ? undefined : input("reference", [2 * P]);
  const reference = fed ?? detach(completions(live!, asked, given).logProbs);
  const found = completions(model, asked, given);
  const half = (x: Tensor, which: 0 | 1) => slice(x, { first: which * P, count: P });
  const whole = weighted ? segmentSum(found.ofTokens, asked.completions, 2 * P) : undefined;
  const side = (which: 0 | 1): Side => ({
    logProbs: half(found.logProbs, which),
    whole: whole && half(whole, which),
    reference: half(reference, which),
    lengths: half(lengths, which),
  });
  const [chosen, rejected] = [side(0), side(1)];
  const of = objective({
    chosen,
    rejected,
    weights,
    meanLength,
    completions: found,
    prompts: prompts ? { logProbs: slice(found.logProbs, { first: 2 * P, count: P }), meanLength: meanWhole } : null,
    ownness,
  });
  const mean = (x: Tensor) => dot(x, weights);
  const [perChosen, perRejected, perAny] = [0, 1, 2].map((first) => slice(perToken, { first, count: 1 })) as [
    Tensor,
    Tensor,
    Tensor,
  ];
  const ofTokens = (which: Parameters<typeof statistic>[1], side: 0 | 1, share: Tensor) =>
    scale(sum(half(statistic(found, which), side)), share);
  const loss = mean(of.loss);
  // A loss that compares means of a token tells of these too.
  const told = { "logps/chosen": chosen.logProbs, "logps/rejected": rejected.logProbs, ...of.told };
  const sums: readonly (readonly [string, Tensor])[] = [
    ["loss", loss],
    ...Object.entries(told).map(([name, x]) => [name, mean(x)] as const),
    ["logits/chosen", ofTokens("mean logit", 0, perChosen)],
    ["logits/rejected", ofTokens("mean logit", 1, perRejected)],
    ["entropy", add(ofTokens("entropy", 0, perAny), ofTokens("entropy", 1, perAny))],
    ["mean_token_accuracy", ofTokens("likeliest", 0, perChosen)],
  ];
  const all = concat(sums.map(([, x]) => detach(x)));
  const inputs = { ...asked, lengths, weights, meanLength, meanWhole, perToken, reference: fed, tokenWeights };
  return {
    inputs: usedBy([loss, all], inputs),
    loss,
    sums: all,
    names: sums.map(([name]) => name),
    constants: {},
  };

  /** log p at half the temperature is 2 log p - log(sum of p^2). */
  function ownness(): Tensor {
    const sharper = model.logProbs(found.rows, asked.targets, { temperature: 0.5 }).logProbs;
    const surplus = detach(subtract(sharper, found.ofTokens));
    return divide(segmentSum(surplus, asked.completions, 2 * P), lengths);
  }
}

/** Those inputs that a graph reads: not every loss looks at everything. */
export function usedBy(
  outputs: readonly Tensor[],
  inputs: Readonly<Record<string, Tensor | undefined>>,
): Graph["inputs"] {
  const used = new Set(schedule(outputs));
  return Object.fromEntries(Object.entries(inputs).flatMap(([name, x]) => (x && used.has(x) ? [[name, x]] : [])));
}

/** [n], [n] -> [1]. */
function dot(x: Tensor, y: Tensor): Tensor {
  const size = sizeOf(x.shape);
  return view(matmul(view(x, [1, size]), view(y, [size, 1])), [1]);
}

/** A pair with what else is fed of it. */
export interface Prepared {
  readonly pair: PairExample;
  /** Log-probabilities of both sides under the reference; absent where that is live, or there is none. */
  readonly reference?: { readonly chosen: number; readonly rejected: number } | undefined;
  /** What each target of the two sides counts for. */
  readonly weights?: { readonly chosen: Float32Array; readonly rejected: Float32Array } | undefined;
}

/** Both sides in rows of one length. */
export function dealtPair({ pair: { chosen, rejected, where } }: Prepared, prompts = false): Dealt {
  return {
    size: Math.max(chosen.ids.length, rejected.ids.length),
    tokens: chosen.ids.length + rejected.ids.length,
    targets: (prompts ? chosen.ids.length : chosen.targets) + rejected.targets,
    where,
  };
}

/** The same answer, its prompt learned with it. */
function withPrompt(answer: Example): Example {
  return { ...answer, trained: answer.trained.map((flag, i) => (flag || i === 0 ? flag : 2)) };
}

/** The graph of pairs of one length, and what it is fed. */
export function pairFeeding(model: Model, objective: Objective, options: PairGraphOptions): Feeding<Prepared> {
  const { pairs: P, length, prompts = false } = options;
  const targets = 8 * Math.ceil(options.targets / 8);
  const graph = pairGraph(model, objective, { ...options, targets });
  const arrays = {
    ...batchArrays(2 * P, length, targets),
    lengths: new Float32Array(2 * P),
    weights: new Float32Array(P),
    meanLength: new Float32Array(1),
    meanWhole: new Float32Array(1),
    perToken: new Float32Array(3),
    reference: new Float32Array(2 * P),
    tokenWeights: new Float32Array(targets),
  };
  const fed = Object.keys(graph.inputs) as (keyof typeof arrays)[];
  const values = Object.fromEntries(fed.map((name) => [name, arrays[name]]));
  return { graph, names: graph.names, fill };

  /** Empty rows stand for pairs that are not there: they have no tokens, length 1 and weight 0. */
  function fill(batch: readonly Prepared[], all: readonly Prepared[]): Values {
    const tokens = (side: "chosen" | "rejected") => all.reduce((sum, { pair }) => sum + pair[side].targets, 0);
    const [chosen, rejected] = [tokens("chosen"), tokens("rejected")];
    const sides = batch.flatMap(({ pair }) => [prompts ? withPrompt(pair.chosen) : pair.chosen, pair.rejected]);
    const rows = Array.from({ length: 2 * P }, (_, row) => {
      const at = row % P;
      return at < batch.length ? [2 * at + Math.floor(row / P)] : [];
    });
    fillBatch(sides, rows, length, arrays);
    arrays.tokenWeights.fill(1);
    arrays.weights.fill(0).fill(1 / all.length, 0, batch.length);
    arrays.lengths.fill(1);
    arrays.reference.fill(0);
    arrays.meanLength[0] = chosen / all.length;
    arrays.meanWhole[0] = all.reduce((sum, { pair }) => sum + pair.chosen.ids.length - 1, 0) / all.length;
    arrays.perToken.set([1 / chosen, 1 / rejected, 1 / (chosen + rejected)]);
    let target = 0;
    for (const [side, key] of (["chosen", "rejected"] as const).entries()) {
      for (const [at, { pair, reference, weights }] of batch.entries()) {
        arrays.lengths[side * P + at] = pair[key].targets;
        arrays.reference[side * P + at] = reference?.[key] ?? 0;
        if (weights) arrays.tokenWeights.set(weights[key], target);
        target += pair[key].targets;
      }
    }
    return values;
  }
}
