/** The rounds of a stage: prompts are drawn and answered, answers rewarded, and a method says what they are worth. */
import { shuffled } from "../../data/choose";
import type { PromptExample } from "../../data/prompts";
import { pcg } from "../../ops/random";
import type { Json } from "../../train/stage";
import type { Context } from "../context";
import { deviationOf, differ, meanOf, type Score, summed } from "./advantages";
import type { Answer } from "./answers";
import type { OnlineConfig } from "./config";
import type { Rewarding } from "./rewarding";
import { watch } from "./watch";
import type { Writer } from "./writer";

/** Answers with what their tokens are worth, and what is told of them. */
export interface Worth {
  readonly answers: readonly Answer[];
  readonly metrics: Readonly<Record<string, number>>;
  /** Nats an answer to the reference; null where there is none. */
  readonly divergence: number | null;
  /** Called once the round is made: what the method remembers of it. */
  commit?(): void;
}

export interface Round {
  readonly round: number;
  readonly answers: readonly Answer[];
  readonly metrics: Readonly<Record<string, number>>;
}

export interface Judging {
  /** `total`: of each answer the weighted sum of its rewards. Null where `signal` was aborted first. */
  worth(answers: readonly Answer[], total: readonly Score[], signal: AbortSignal): Promise<Worth | null>;
  /** Whether a group of answers to one prompt teaches anything; null where there are no groups. */
  readonly signal: ((group: readonly Answer[]) => boolean) | null;
  /** What the divergence should be, where that is said. */
  readonly target?: number | undefined;
}

export interface RoundsOptions {
  readonly config: OnlineConfig;
  readonly context: Pick<Context, "seed" | "signal" | "console">;
  readonly prompts: readonly PromptExample[];
  readonly rewarding: Rewarding;
  readonly writer: Writer;
  readonly method: Judging;
}

export interface Rounds {
  /** A function of the seed, the round, the prompts drawn before, and the weights now. Null where it was cut off: nothing has changed then. */
  make(at: number): Promise<Round | null>;
  /** Prompts that were drawn in all rounds so far. */
  drawn(): number;
  save(): Json;
  load(json: Json): void;
}

/** A stream of random numbers of the prompts' order. */
const ORDER = 211;

export function roundsOf({ config, context, prompts, rewarding, writer, method }: RoundsOptions): Rounds {
  const { seed, signal, console } = context;
  const { name, rollout, dynamicSampling: dynamic } = config;
  const watching = watch();
  let drawn = 0;
  let order: { readonly epoch: number; readonly places: readonly number[] } | null = null;
  return {
    make: newRound,
    drawn: () => drawn,
    save: () => ({ drawn, watch: watching.save() }),
    load(json) {
      const saved = json as { readonly drawn: number; readonly watch: Json };
      drawn = saved.drawn;
      watching.load(saved.watch);
    },
  };

  /** The place of the k-th prompt that is drawn: every epoch has all, in an order of its own. */
  function promptAt(k: number): number {
    const epoch = Math.floor(k / prompts.length);
    if (!config.shuffle) return k % prompts.length;
    if (order?.epoch !== epoch) order = { epoch, places: shuffled(prompts.length, seed, ORDER + epoch) };
    return order.places[k % prompts.length]!;
  }

  /** A function of the seed, the round, and the weights now. Null where it was cut off: nothing has changed then. */
  async function newRound(at: number): Promise<Round | null> {
    const began = performance.now();
    const groups: Answer[][] = [];
    const totals: Score[][] = [];
    const spare: { readonly group: Answer[]; readonly total: Score[] }[] = [];
    const seconds = { rollout: 0, scoring: 0 };
    let asked = 0;
    let tokens = 0;
    let silent = 0;
    const limit = Math.floor((dynamic ?? 1) * rollout.prompts);
    for (let attempt = 0; groups.length < rollout.prompts; attempt++) {
      const missing = Math.min(rollout.prompts - groups.length, limit - asked);
      if (missing === 0) {
        for (const { group, total } of spare.slice(0, rollout.prompts - groups.length)) {
          groups.push(group);
          totals.push(total);
        }
        break;
      }
      const places = Array.from({ length: missing }, (_, i) => promptAt(drawn + asked + i)).flatMap((place) =>
        new Array<number>(rollout.samples).fill(place),
      );
      const start = performance.now();
      const found = await writer.write(places, prompts, seedOf(at, attempt), signal);
      if (!found) return null;
      const then = performance.now();
      const scores = await rewarding.score(found, prompts, signal);
      if (!scores) return null;
      seconds.rollout += (then - start) / 1000;
      seconds.scoring += (performance.now() - then) / 1000;
      tokens += tokensOf(found);
      asked += missing;
      const total = summed(scores, rewarding.weights);
      for (let group = 0; group < missing; group++) {
        const from = group * rollout.samples;
        const own = found.slice(from, from + rollout.samples).map((answer, i) => ({
          ...answer,
          rewards: scores.map((of) => of[from + i]!),
        }));
        const sums = total.slice(from, from + rollout.samples);
        const teaches = method.signal === null || method.signal(own);
        if (!teaches) silent++;
        if (teaches || dynamic === undefined) {
          groups.push(own);
          totals.push(sums);
        } else spare.push({ group: own, total: sums });
      }
    }
    const start = performance.now();
    const answers = groups.flat();
    const total = totals.flat();
    const worth = await method.worth(answers, total, signal);
    if (!worth) return null;
    seconds.scoring += (performance.now() - start) / 1000;
    drawn += asked;
    worth.commit?.();
    const judged = total.filter((value) => value !== null);
    const lengths = answers.map(({ example }) => example.targets);
    const ended = answers.filter(({ ended }) => ended).map(({ example }) => example.targets);
    const share = method.signal === null ? null : silent / asked;
    const metrics = {
      reward: meanOf(judged),
      reward_std: deviationOf(judged),
      ...rewardMetrics(answers, rewarding.names),
      ...(share !== null && { frac_reward_zero_std: share }),
      ...(dynamic !== undefined && { prompts_drawn: asked, groups_without_signal: silent }),
      "completions/mean_length": meanOf(lengths),
      "completions/min_length": least(lengths),
      "completions/max_length": most(lengths),
      "completions/clipped_ratio": 1 - ended.length / answers.length,
      "completions/mean_terminated_length": meanOf(ended),
      "completions/min_terminated_length": least(ended),
      "completions/max_terminated_length": most(ended),
      rollout_tokens_per_second: tokens / seconds.rollout,
      "time/rollout": seconds.rollout,
      "time/scoring": seconds.scoring,
      ...worth.metrics,
    };
    for (const line of watching.see({
      reward: metrics.reward,
      silent: share,
      divergence: worth.divergence,
      target: method.target,
    }))
      console.note(`${name}: ${line}`);
    if (dynamic !== undefined && groups.length > asked - silent)
      console.note(
        `${name}: of ${asked} prompts ${asked - silent} had answers of different rewards: the round is filled up with others`,
      );
    return {
      round: at,
      answers: worth.answers,
      metrics: { ...metrics, "time/round": (performance.now() - began) / 1000 },
    };
  }

  function seedOf(at: number, attempt: number): number {
    return pcg((pcg((pcg(seed) + at) >>> 0) + attempt) >>> 0);
  }
}

export function rewardMetrics(answers: readonly Answer[], names: readonly string[]): Record<string, number> {
  return Object.fromEntries(
    names.flatMap((name, k) => {
      const judged = answers.map(({ rewards }) => rewards[k]!).filter((value) => value !== null);
      return [
        [`rewards/${name}/mean`, meanOf(judged)],
        [`rewards/${name}/std`, deviationOf(judged)],
      ];
    }),
  );
}

export function tokensOf(answers: readonly Pick<Answer, "example">[]): number {
  return answers.reduce((sum, { example }) => sum + example.targets, 0);
}

/** Whether the sum of their rewards differs, or with several normalised apart any of them. */
export function hasSignal(group: readonly Answer[], weights: readonly number[], apart: boolean): boolean {
  const of = (k: number) => group.map(({ rewards }) => rewards[k]!).filter((value) => value !== null);
  if (apart) return weights.some((_, k) => differ(of(k)));
  const sums = summed(
    weights.map((_, k) => group.map(({ rewards }) => rewards[k]!)),
    weights,
  );
  return differ(sums.filter((value) => value !== null));
}

function least(values: readonly number[]): number {
  return values.length === 0 ? 0 : values.reduce((a, b) => Math.min(a, b));
}

function most(values: readonly number[]): number {
  return values.reduce((a, b) => Math.max(a, b), 0);
}
