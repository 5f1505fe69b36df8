/** A micro-batch of answers as a graph: log-probabilities of their tokens, whatever the loss, and what it is fed. */
import { batchArrays, fillBatch } from "../../data/layout";
import type { HiddenOptions } from "../../model/architecture";
import { type Completions, completionInputs, completions, told as statistic } from "../../model/completions";
import type { Model } from "../../model/model";
import { multiply } from "../../ops/elementwise";
import { concat } from "../../ops/parts";
import { sum } from "../../ops/reduce";
import { detach, input, type Tensor } from "../../tensor/tensor";
import type { Graph, Values } from "../../train/stage";
import { usedBy } from "../pairs";
import type { Answer, TokenField } from "./answers";
import type { Shape } from "./shapes";

/** What an objective sees of a micro-batch. Places without a token have weight and share 0. */
export interface OnPolicy {
  /** [N]: differentiable. */
  readonly policy: Tensor;
  /** [N]: what is fed of each token. */
  readonly fed: Readonly<Record<TokenField, Tensor>>;
  /** [N] (u32): which of the `rows` answers a token is of. */
  readonly answers: Tensor;
  readonly rows: number;
  /** Tokens of a row. */
  readonly length: number;
  /** [N]: what a token's loss counts for. */
  readonly weights: Tensor;
  /** [N], [rows]: 1 / the tokens, and 1 / the answers of the step. */
  readonly ofTokens: Tensor;
  readonly ofAnswers: Tensor;
  /** The hidden rows [N, C] that the tokens are predicted from, and what they are of. */
  readonly completions: Completions;
  readonly asked: ReturnType<typeof completionInputs>;
}

export interface Objective {
  /** [1]. */
  readonly loss: Tensor;
  /** Each [1], added up over the micro-batches of a step. */
  readonly told: Readonly<Record<string, Tensor>>;
}

export interface OnlineFeeding {
  readonly graph: Graph;
  readonly names: readonly string[];
  /** `weightOf`: what each token of an answer counts for. */
  fill(batch: readonly Answer[], step: StepOf): Values;
}

export interface StepOf {
  /** Answers of the step, and their tokens, that are learned from. */
  readonly answers: number;
  readonly tokens: number;
  weightOf(answer: Answer): number;
}

export interface FeedingOptions extends Omit<HiddenOptions, "cache" | "starts" | "dropout" | "length"> {
  readonly rows: number;
  readonly shape: Shape;
  readonly temperature: number;
}

const fields = ["old", "reference", "advantages", "values", "returns"] as const satisfies readonly TokenField[];

export function onlineFeeding(
  model: Model,
  objective: (on: OnPolicy) => Objective,
  { rows, shape: { length, targets }, ...options }: FeedingOptions,
): OnlineFeeding {
  const asked = completionInputs(rows * length, targets);
  const found = completions(model, asked, { count: rows, length, ...options });
  const of = (name: string, size: number) => input(name, [size]);
  const fed = Object.fromEntries(fields.map((name) => [name, of(name, targets)])) as Record<TokenField, Tensor>;
  const [weights, ofTokens, ofAnswers] = [of("weights", targets), of("1 / tokens", targets), of("1 / answers", rows)];
  const { loss, told } = objective({
    policy: found.ofTokens,
    fed,
    answers: asked.completions,
    rows,
    length,
    weights,
    ofTokens,
    ofAnswers,
    completions: found,
    asked,
  });
  // Of each answer its tokens' sum; an answer that is not learned from has no share.
  const perToken = of("1 / tokens, of answers", rows);
  const entropy = over(statistic(found, "entropy"), perToken);
  const all = { loss, ...told, entropy };
  const sums = concat(Object.values(all).map((x) => detach(x)));
  const arrays = {
    ...batchArrays(rows, length, targets),
    ...(Object.fromEntries(fields.map((name) => [name, new Float32Array(targets)])) as Record<
      TokenField,
      Float32Array
    >),
    weights: new Float32Array(targets),
    ofTokens: new Float32Array(targets),
    ofAnswers: new Float32Array(rows),
    perToken: new Float32Array(rows),
  };
  const inputs = usedBy([loss, sums], { ...asked, ...fed, weights, ofTokens, ofAnswers, perToken });
  const names = Object.keys(inputs) as (keyof typeof arrays)[];
  const values = Object.fromEntries(names.map((name) => [name, arrays[name]]));
  return { graph: { inputs, loss, sums, constants: {} }, names: Object.keys(all), fill };

  function fill(batch: readonly Answer[], { answers, tokens, weightOf }: StepOf): Values {
    fillBatch(
      batch.map(({ example }) => example),
      batch.map((_, row) => [row]),
      length,
      arrays,
    );
    for (const name of [...fields, "weights", "ofTokens", "ofAnswers", "perToken"] as const) arrays[name].fill(0);
    let at = 0;
    for (const [row, answer] of batch.entries()) {
      const { targets } = answer.example;
      for (const name of fields) {
        const numbers = answer.tokens[name];
        if (numbers) arrays[name].set(numbers, at);
      }
      if (answer.counts) {
        arrays.weights.fill(weightOf(answer), at, at + targets);
        arrays.ofTokens.fill(1 / tokens, at, at + targets);
        arrays.ofAnswers[row] = 1 / answers;
        arrays.perToken[row] = 1 / tokens;
      }
      at += targets;
    }
    return values;
  }
}

/** The sum of x times what each counts for: [n], [n] -> [1]. */
export function over(x: Tensor, share: Tensor): Tensor {
  return sum(multiply(x, share));
}
