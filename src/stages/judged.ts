/** A micro-batch of answers that are good or bad alone, and the losses over them: KTO (https://arxiv.org/abs/2402.01306), and APO unpaired. */
import type { Dealt } from "../data/deal";
import type { Example } from "../data/examples";
import { batchArrays, fillBatch } from "../data/layout";
import type { JudgedExample } from "../data/pairs";
import { completionInputs, completions, told as statistic } from "../model/completions";
import type { Model } from "../model/model";
import { addScalar, multiply, relu, scale, shift, sigmoid, subtract } from "../ops/elementwise";
import { concat } from "../ops/parts";
import { sum } from "../ops/reduce";
import { detach, input, type Tensor } from "../tensor/tensor";
import type { Values } from "../train/stage";
import type { FeedingOptions } from "./compared";
import type { Feeding } from "./measured";
import { usedBy } from "./pairs";

/** An answer with its log-probability under the reference, where that is not live. */
export interface Known {
  readonly example: Example;
  readonly reference?: number | undefined;
}

/** An answer that is judged, and the same prompt with another's answer. */
export interface Judged {
  readonly judged: JudgedExample;
  readonly reference?: number | undefined;
  readonly mismatched: Known | null;
}

export function dealtJudged({ judged: { answer, where } }: Judged): Dealt {
  return { size: answer.ids.length, targets: answer.targets, where };
}

export interface JudgedLoss {
  readonly loss: "kto" | "apo_zero_unpaired";
  readonly beta: number;
  /** What a good and a bad answer count for. */
  readonly desirable: number;
  readonly undesirable: number;
}

export interface JudgedOptions extends FeedingOptions, JudgedLoss {
  readonly rows: number;
  /** A model whose log-probabilities are the reference, computed with each step; else they are fed. */
  readonly reference: Model | undefined;
  /** [1]: the mean over the step of log-ratios of mismatched answers, found before. */
  readonly baseline: Tensor;
}

export function judgedFeeding(
  model: Model,
  { rows, loss: kind, beta, desirable, undesirable, reference: live, baseline, length, ...options }: JudgedOptions,
): Feeding<Judged> {
  const count = 8 * Math.ceil(options.targets / 8);
  const asked = completionInputs(rows * length, count);
  const given = { ...options, length, count: rows };
  const fed = input("reference", [rows]);
  const [signs, weights] = [input("signs", [rows]), input("weights", [rows])];
  // 1 / the good answers of the step where one is good, and likewise of the bad ones; of their tokens; and of all rows.
  const [good, bad, goodTokens, badTokens, each] = ["good", "bad", "good tokens", "bad tokens", "each"].map((name) =>
    input(name, [rows]),
  ) as [Tensor, Tensor, Tensor, Tensor, Tensor];
  const found = completions(model, asked, given);
  const reference = live ? detach(completions(live, asked, given).logProbs) : fed;
  const ratios = subtract(found.logProbs, reference);
  const kl = relu(detach(baseline));
  const compared = kind === "kto" ? addScalar(ratios, scale(kl, -1)) : ratios;
  const losses = shift(scale(sigmoid(scale(multiply(compared, signs), beta)), -1), 1);
  const loss = sum(multiply(losses, weights));
  const rewards = scale(detach(ratios), beta);
  const over = (x: Tensor, share: Tensor) => sum(multiply(detach(x), share));
  const [chosen, rejected] = [over(rewards, good), over(rewards, bad)];
  const told = {
    loss,
    "rewards/chosen": chosen,
    "rewards/rejected": rejected,
    "rewards/margins": subtract(chosen, rejected),
    "logps/chosen": over(found.logProbs, good),
    "logps/rejected": over(found.logProbs, bad),
    "logits/chosen": over(statistic(found, "mean logit"), goodTokens),
    "logits/rejected": over(statistic(found, "mean logit"), badTokens),
    ...(kind === "kto" && { kl: scale(sum(each), kl) }),
  };
  const sums = concat(Object.values(told).map(detach));
  const arrays = {
    ...batchArrays(rows, length, count),
    reference: new Float32Array(rows),
    signs: new Float32Array(rows),
    weights: new Float32Array(rows),
    good: new Float32Array(rows),
    bad: new Float32Array(rows),
    goodTokens: new Float32Array(rows),
    badTokens: new Float32Array(rows),
    each: new Float32Array(rows),
  };
  const inputs = usedBy([loss, sums], {
    ...asked,
    reference: fed,
    signs,
    weights,
    good,
    bad,
    goodTokens,
    badTokens,
    each,
  });
  const names = Object.keys(inputs) as (keyof typeof arrays)[];
  const values = Object.fromEntries(names.map((name) => [name, arrays[name]]));
  return { graph: { inputs, loss, sums, constants: {} }, names: Object.keys(told), fill };

  /** Empty rows have weight 0. */
  function fill(batch: readonly Judged[], all: readonly Judged[]): Values {
    fillBatch(
      batch.map(({ judged }) => judged.answer),
      batch.map((_, at) => [at]),
      length,
      arrays,
    );
    const of = (label: boolean) => all.filter(({ judged }) => judged.good === label).map(({ judged }) => judged.answer);
    const tokens = (answers: readonly Example[]) => answers.reduce((sum, { targets }) => sum + targets, 0);
    const [goods, bads] = [of(true), of(false)];
    for (const name of ["reference", "weights", "good", "bad", "goodTokens", "badTokens", "each"] as const)
      arrays[name].fill(0);
    arrays.signs.fill(1);
    for (const [row, { judged, reference }] of batch.entries()) {
      arrays.reference[row] = reference ?? 0;
      arrays.signs[row] = judged.good ? 1 : -1;
      arrays.weights[row] = (judged.good ? desirable : undesirable) / all.length;
      arrays[judged.good ? "good" : "bad"][row] = 1 / (judged.good ? goods : bads).length;
      arrays[judged.good ? "goodTokens" : "badTokens"][row] = 1 / tokens(judged.good ? goods : bads);
      arrays.each[row] = 1 / all.length;
    }
    return values;
  }
}
