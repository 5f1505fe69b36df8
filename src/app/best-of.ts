/**
 * The best of several answers by a reward model: what a policy could say without being trained, and so what training by that reward is to be
 * measured against. Its divergence from the policy is ln n - (n - 1) / n at most: https://arxiv.org/abs/2401.01879, theorem 1.
 */
import type { Device } from "../device/device";
import { UserError } from "../errors";
import { type Interval, interval } from "../eval/interval";
import { type Rule, type Scores, scoresBy } from "../eval/rule";
import { scoresOf } from "../eval/scores";
import { raw, readNormalisation } from "../formats/normalisation";
import { percentages, type Reporter } from "../log/console";
import type { OpenModel } from "./model";
import { type WriteOptions, type Written, writtenAnswers } from "./write-answers";

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

type Opened = OpenModel & { readonly device: Device };

export async function bestOf(
  policy: Opened,
  judge: Opened,
  { rule, ...options }: BestOfOptions,
  console: Reporter,
): Promise<BestOf> {
  if (!Bun.deepEquals(judge.tokenizer.files.tokenizer, policy.tokenizer.files.tokenizer))
    throw new UserError(
      `the reward model has another tokenizer than the model: ${judge.tokenizer.size} tokens, and ${policy.tokenizer.size}`,
      { hint: "take a reward model that comes from the same model", exitCode: 2 },
    );
  const { samples } = options;
  const written = await writtenAnswers(policy, options, console);
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
async function rewardsOf(
  { device, model, slabs, parts }: Opened,
  written: readonly Written[],
  rows: number,
  console: Reporter,
): Promise<number[]> {
  const { gain, bias } = readNormalisation(parts.adapters.at(-1) ?? parts.base) ?? raw;
  const sequences = written.map(({ prompt, ids }) => Uint32Array.from([...prompt.ids, ...ids]));
  const length = model.config.context;
  const long = sequences.find((ids) => ids.length > length);
  if (long)
    throw new UserError(
      `an answer with its prompt has ${long.length} tokens, and the reward model's context is ${length}`,
      {
        hint: "use a smaller --max-tokens",
      },
    );
  const found = new Array<number>(sequences.length);
  const progress = percentages(console, "rewards");
  let done = 0;
  for await (const [at, score] of scoresOf({ device, model, slabs, rows, length }, sequences)) {
    found[at] = gain * score + bias;
    progress(++done, sequences.length);
  }
  console.done();
  return found;
}
