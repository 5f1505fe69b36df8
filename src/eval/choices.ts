/** Multiple choice by log-likelihood, as lm-evaluation-harness 0.4.13 computes it: which tokens are predicted, and the figures. */
import { UserError } from "../errors";
import type { Tokenizer } from "../text/tokenizer";
import { type Asked, type Metric, type Task, type TaskName, tasks, trimmedEnd } from "./choice-tasks";
import type { Continuation, Likelihood } from "./continuations";
import { type Estimate, estimate, exponential, meanOf } from "./estimate";

/** A continuation, and how many tokens of its context it has lost. */
export interface Fitted extends Continuation {
  readonly lost: number;
}

/**
 * The tokens of each of a question's continuations. White space at the context's end goes to the continuation; both are encoded as one
 * text, and what is behind as many tokens as the context alone has is predicted. An empty context is the end-of-text token. What is
 * longer than the model's context of `most` tokens is cut on the left.
 */
export function continuationsOf(
  { context: given, continuations, where }: Pick<Asked, "context" | "continuations" | "where">,
  tokenizer: Tokenizer,
  most: number,
): Fitted[] {
  const context = trimmedEnd(given);
  const moved = given.slice(context.length);
  const before = context === "" ? [endOf(tokenizer, where)] : tokenizer.encode(context);
  return continuations.map((continuation) => {
    const whole = tokenizer.encode(context + moved + continuation);
    const after = context === "" ? whole : whole.slice(before.length);
    if (after.length === 0)
      throw new UserError(`${where}: ${JSON.stringify(continuation)} has no token of its own behind its context`);
    if (after.length > most)
      throw new UserError(`${where}: a continuation has ${after.length} tokens, and the model's context is ${most}`);
    const ids = Uint32Array.from([...before, ...after]).slice(-(most + 1));
    const lost = before.length + after.length - ids.length;
    return { ids, from: ids.length - after.length, where, lost };
  });
}

function endOf({ endOfText }: Tokenizer, where: string): number {
  if (endOfText !== null) return endOfText;
  throw new UserError(`${where} has no context, for which the end-of-text token stands, and the tokenizer has none`);
}

/** Which choice each way of counting picks: the first of those that have the most. */
export type Picks = Readonly<Record<"acc" | "acc_norm" | "acc_bytes", number>>;

/** By log-likelihood; by that over the choice's characters; over its bytes in UTF-8. */
export function picksOf({ choices }: Pick<Asked, "choices">, likelihoods: readonly Likelihood[]): Picks {
  const over = (sizeOf: (choice: string) => number) =>
    firstMost(likelihoods.map(({ logLikelihood }, i) => logLikelihood / sizeOf(choices[i]!)));
  return { acc: over(() => 1), acc_norm: over((choice) => [...choice].length), acc_bytes: over(Buffer.byteLength) };
}

function firstMost(values: readonly number[]): number {
  return values.reduce((best, value, i) => (value > values[best]! ? i : best), 0);
}

export type Metrics = Readonly<Partial<Record<Metric, Estimate>>>;

export interface FileFigures {
  readonly records: number;
  readonly metrics: Metrics;
}

export interface ChoiceFigures extends FileFigures {
  readonly task: TaskName;
  readonly method: string;
  /** Of several: by file. The metrics are the means of theirs, whatever the number of their records. */
  readonly files?: Readonly<Record<string, FileFigures>>;
}

export interface Answered {
  readonly asked: Asked;
  /** Of each continuation. */
  readonly likelihoods: readonly Likelihood[];
}

/** The figures of one file's records. */
export function fileFigures(answered: readonly Answered[], name: TaskName): FileFigures {
  const task: Task = tasks[name];
  const of = (metric: Metric): Estimate => {
    if (metric === "perplexity")
      return exponential(estimate(answered.map(({ likelihoods: [word] }) => -word!.logLikelihood)));
    const right = ({ asked, likelihoods }: Answered) =>
      task.words ? likelihoods[0]!.greedy : picksOf(asked, likelihoods)[metric] === asked.gold;
    return estimate(answered.map((one) => Number(right(one))));
  };
  return {
    records: answered.length,
    metrics: Object.fromEntries(task.metrics.map((metric) => [metric, of(metric)])),
  };
}

/** Of one file, or of several by their names. */
export function choiceFigures(files: readonly (readonly [name: string, FileFigures])[], task: TaskName): ChoiceFigures {
  const [first, ...more] = files;
  const method =
    "log-likelihood of the whole continuation, as lm-evaluation-harness 0.4.13 computes it, no examples before";
  if (more.length === 0) return { task, method, ...first![1] };
  const names = tasks[task].metrics;
  return {
    task,
    method: `${method}; the mean of ${files.length} files`,
    records: files.reduce((sum, [, { records }]) => sum + records, 0),
    metrics: Object.fromEntries(names.map((name) => [name, meanOf(files.map(([, { metrics }]) => metrics[name]!))])),
    files: Object.fromEntries(files),
  };
}
