/**
 * From tokens to the log-probabilities of completions: the one way there is. Stages that learn from preferences, and evaluation, are
 * formulas over what is given here.
 */
import { STATISTICS } from "../ops/cross-entropy";
import { multiply } from "../ops/elementwise";
import { gather } from "../ops/gather";
import { slice } from "../ops/parts";
import { segmentSum } from "../ops/segments";
import { sizeOf } from "../tensor/shape";
import { detach, input, type Tensor } from "../tensor/tensor";
import type { HiddenOptions } from "./architecture";
import type { Model } from "./model";

/** What is asked of a model: the tokens of rows, and which of them are predicted. */
export interface Asked {
  /** [R T] (u32), row after row. */
  readonly tokens: Tensor;
  readonly positions: Tensor;
  /** [N] (u32): where each target is predicted from, the target (or IGNORE), and the completion that it is of. */
  readonly places: Tensor;
  readonly targets: Tensor;
  readonly completions: Tensor;
}

/** Inputs for so many tokens, of all rows, and targets. */
export function completionInputs(tokens: number, targets: number): Asked {
  const of = (name: string, size: number) => input(name, [size], "u32");
  return {
    tokens: of("tokens", tokens),
    positions: of("positions", tokens),
    places: of("places", targets),
    targets: of("targets", targets),
    completions: of("completions", targets),
  };
}

export interface Completions {
  /** [count]: of each completion the sum over its tokens of their log-probabilities. Differentiable. */
  readonly logProbs: Tensor;
  /** [N]: of each token; 0 where there is none. Differentiable. */
  readonly ofTokens: Tensor;
  /** [count, 4]: sums over each completion's tokens of minus that, the entropy, 1 where it is the likeliest, and the mean logit: only told. */
  readonly statistics: Tensor;
  /** [N, C]: what the head saw. */
  readonly rows: Tensor;
}

export interface CompletionOptions extends Omit<HiddenOptions, "cache" | "starts"> {
  /** Completions: ids are below it. */
  readonly count: number;
  /** [N]: what each token's log-probability is multiplied with; 1 if absent. */
  readonly weights?: Tensor | undefined;
  /** What the logits are divided by; 1 if absent. */
  readonly temperature?: number | undefined;
}

export function completions(
  model: Model,
  { tokens, positions, places, targets, completions: of }: Asked,
  { count, weights, temperature, ...options }: CompletionOptions,
): Completions {
  const rows = gather(model.hidden(tokens, positions, options), places);
  const { logProbs: ofTokens, statistics } = model.logProbs(rows, targets, { dropout: options.dropout, temperature });
  return {
    logProbs: segmentSum(weights ? multiply(ofTokens, weights) : ofTokens, of, count),
    ofTokens,
    statistics: segmentSum(detach(statistics), of, count),
    rows,
  };
}

/** Of each completion one of the statistics: [count]. */
export function told({ statistics }: Pick<Completions, "statistics">, which: Statistic): Tensor {
  const count = sizeOf(statistics.shape) / STATISTICS;
  return slice(statistics, { first: statisticNames.indexOf(which), count, step: STATISTICS });
}

const statisticNames = ["surprise", "entropy", "likeliest", "mean logit"] as const;
type Statistic = (typeof statisticNames)[number];
