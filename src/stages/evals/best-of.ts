/**
 * The best of several answers by a reward model: what a policy could say without being trained, and so what training by that reward is to be
 * measured against. Its divergence from the policy is ln n - (n - 1) / n at most: https://arxiv.org/abs/2401.01879, theorem 1.
 */
import { readRecords } from "../../data/records";
import { UserError } from "../../errors";
import { type Interval, interval } from "../../eval/interval";
import { type Rule, type Scores, scoresBy } from "../../eval/rule";
import type { Reporter } from "../../log/console";
import { expectSameTokenizer } from "../reference";
import { normalisedScores } from "./normalised-scores";
import type { Reading, Scorer, Subject } from "./subject";
import { type WriteOptions, type Written, writtenAnswers } from "./written";

export interface BestOfOptions extends WriteOptions {
  /** Told of the answers beside their rewards. */
  readonly rule: Rule | null;
}

export interface BestOf {
  readonly samples: number;
  readonly prompts: number;
  /** Nats an answer. */
  readonly divergence: number;
  /** Of all answers, and of the best of each prompt. */
  readonly reward: { readonly all: Interval; readonly best: Interval };
  /** The same by the functions of the rule; null where it judges none. */
  readonly rule: Readonly<Record<string, { readonly all: Interval | null; readonly best: Interval | null }>>;
  readonly answers: readonly { readonly question: string; readonly answer: string; readonly reward: number }[];
}

export async function bestOf(
  policy: Subject,
  judge: Scorer,
  { rule, ...options }: BestOfOptions,
  { console, find }: Reading,
): Promise<BestOf> {
  expectSameTokenizer(judge.tokenizer, policy.tokenizer, "the reward model");
  const { samples, data } = options;
  const rows = await readRecords(await find(data), data);
  const written = await writtenAnswers(policy, rows, options, console);
  const rewards = await rewardsOf(judge, written, options.batch, console);
  const groups = Array.from({ length: written.length / samples }, (_, i) => i * samples);
  const best = groups.map((first) => {
    let at = first;
    for (let i = first + 1; i < first + samples; i++) if (rewards[i]! > rewards[at]!) at = i;
    return at;
  });
  const scores: Scores[] = [];
  for (const { prompt, text } of written) {
    const { messages, columns } = prompt;
    scores.push(rule ? await scoresBy(rule, { messages, answer: text, columns }) : {});
  }
  const over = (name: string, places: readonly number[]) =>
    interval(places.map((i) => scores[i]![name]!).filter((value) => value !== null));
  const all = written.map((_, i) => i);
  return {
    samples,
    prompts: groups.length,
    divergence: Math.log(samples) - (samples - 1) / samples,
    reward: { all: interval(rewards)!, best: interval(best.map((i) => rewards[i]!))! },
    rule: Object.fromEntries(
      Object.keys(scores[0]!).map((name) => [name, { all: over(name, all), best: over(name, best) }]),
    ),
    answers: best.map((i) => ({
      question: written[i]!.prompt.messages.at(-1)?.content ?? "",
      answer: written[i]!.text,
      reward: rewards[i]!,
    })),
  };
}

/** Normalised, as the reward model says. */
function rewardsOf(judge: Scorer, written: readonly Written[], rows: number, console: Reporter): Promise<number[]> {
  const sequences = written.map(({ prompt, ids }) => Uint32Array.from([...prompt.ids, ...ids]));
  const { context } = judge.model.config;
  const long = sequences.find(({ length }) => length > context);
  if (long)
    throw new UserError(
      `an answer with its prompt has ${long.length} tokens, and the reward model's context is ${context}`,
      { hint: "use a smaller --max-tokens" },
    );
  return normalisedScores(judge, sequences, { rows, normalisation: judge.normalisation, says: "rewards" }, console);
}
