/** A micro-batch of answers that are scored, and the pairs among them: Bradley and Terry's loss (https://arxiv.org/abs/1706.03741, equation 1). */
import type { Dealt } from "../data/deal";
import type { Group } from "../data/groups";
import { fillSequences, sequenceArrays } from "../data/layout";
import { extreme } from "../model/extreme";
import type { Model } from "../model/model";
import { scoreInputs, scores } from "../model/scores";
import { add } from "../ops/add";
import { IGNORE } from "../ops/cross-entropy";
import { above, logSigmoid, multiply, scale, square, subtract } from "../ops/elementwise";
import { concat } from "../ops/parts";
import { sum } from "../ops/reduce";
import { takeRows } from "../ops/segments";
import { detach, input, type Tensor } from "../tensor/tensor";
import type { Values } from "../train/stage";
import type { FeedingOptions } from "./compared";
import type { Feeding } from "./measured";

export interface ScoredOptions extends FeedingOptions {
  /** Answers of a micro-batch. */
  readonly rows: number;
  /** What (r_c + r_r)^2 is added with: it keeps rewards about 0. */
  readonly centring: number;
}

export function dealtGroup({ answers, pairs, where }: Group): Dealt {
  return {
    size: Math.max(...answers.map(({ ids }) => ids.length)),
    width: answers.length,
    tokens: answers.reduce((sum, { ids }) => sum + ids.length, 0),
    targets: pairs.length,
    where,
  };
}

/** `targets`: pairs of a micro-batch. */
export function scoredFeeding(
  model: Model,
  { rows, centring, length, targets: P, ...options }: ScoredOptions,
): Feeding<Group> {
  const asked = scoreInputs(rows, length);
  const [winners, losers] = [input("winners", [P], "u32"), input("losers", [P], "u32")];
  const [margins, weights] = [input("margins", [P]), input("weights", [P])];
  const all = scores(model, asked, { length, ...options });
  const [chosen, rejected] = [takeRows(all, winners), takeRows(all, losers)];
  const gap = subtract(chosen, rejected);
  const preferred = scale(logSigmoid(subtract(gap, margins)), -1);
  const each = centring > 0 ? add(preferred, scale(square(add(chosen, rejected)), centring)) : preferred;
  const mean = (x: Tensor) => sum(multiply(x, weights));
  const loss = mean(each);
  // Either side stands for half of its pair.
  const [sides, shares] = [concat([chosen, rejected]), scale(concat([weights, weights]), 0.5)];
  const told = {
    loss,
    accuracy: mean(above(chosen, rejected)),
    margin: mean(gap),
    min_reward: extreme(sides, shares, "least"),
    mean_reward: scale(mean(add(chosen, rejected)), 0.5),
    max_reward: extreme(sides, shares, "most"),
  };
  const arrays = {
    ...sequenceArrays(rows, length),
    winners: new Uint32Array(P),
    losers: new Uint32Array(P),
    margins: new Float32Array(P),
    weights: new Float32Array(P),
  };
  return {
    graph: {
      inputs: { ...asked, winners, losers, margins, weights },
      loss,
      sums: concat(Object.values(told).map(detach)),
      constants: {},
    },
    names: Object.keys(told),
    fill(batch, all): Values {
      fillSequences(
        batch.flatMap(({ answers }) => answers.map(({ ids }) => ids)),
        arrays,
      );
      arrays.winners.fill(IGNORE);
      arrays.losers.fill(IGNORE);
      arrays.margins.fill(0);
      arrays.weights.fill(0);
      const pairs = all.reduce((sum, { pairs }) => sum + pairs.length, 0);
      let first = 0;
      let at = 0;
      for (const group of batch) {
        for (const { chosen, rejected, margin } of group.pairs) {
          arrays.winners[at] = first + chosen;
          arrays.losers[at] = first + rejected;
          arrays.margins[at] = margin;
          arrays.weights[at++] = 1 / pairs;
        }
        first += group.answers.length;
      }
      return arrays as unknown as Values;
    },
  };
}
