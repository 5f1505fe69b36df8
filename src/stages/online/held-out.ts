/** What a policy gets for answers to prompts that are not trained on, one answer each, sampled as in training. */
import type { PromptExample } from "../../data/prompts";
import { pcg } from "../../ops/random";
import { meanOf, summed } from "./advantages";
import type { OnlineConfig } from "./config";
import type { Rewarding } from "./rewarding";
import { rewardMetrics } from "./rounds";
import type { Writer } from "./writer";

export interface Measuring {
  readonly config: OnlineConfig;
  readonly seed: number;
  readonly writer: Writer;
  readonly rewarding: Rewarding;
  readonly signal: AbortSignal;
}

export interface Measured {
  readonly figures: Readonly<Record<string, number>>;
  /** Those that any reward judges, of all. */
  readonly judged: number;
  readonly answers: number;
}

/** By the same random numbers each time; null where `signal` was aborted first. */
export async function heldOutReward(
  prompts: readonly PromptExample[],
  { config: { evaluate, batch }, seed, writer, rewarding, signal }: Measuring,
): Promise<Measured | null> {
  const count = Math.min(prompts.length, evaluate.batches * batch.rows);
  const places = Array.from({ length: count }, (_, i) => Math.floor(((i + 0.5) * prompts.length) / count));
  const answers = await writer.write(places, prompts, pcg(seed ^ 0x5eed), signal);
  const scores = answers && (await rewarding.score(answers, prompts, signal));
  if (!scores) return null;
  const judged = summed(scores, rewarding.weights).filter((value) => value !== null);
  const given = answers.map((answer, i) => ({ ...answer, rewards: scores.map((of) => of[i]!) }));
  const means = Object.entries(rewardMetrics(given, rewarding.names)).filter(([key]) => key.endsWith("/mean"));
  const length = meanOf(answers.map(({ example }) => example.targets));
  const figures = { reward: meanOf(judged), ...Object.fromEntries(means), length };
  return { figures, judged: judged.length, answers: count };
}

/** By the names of metrics. Of one reward its mean is the reward. */
export function validation({ figures }: Measured, names: readonly string[]): Record<string, number> {
  const kept = Object.entries(figures).filter(([key]) => names.length > 1 || !key.startsWith("rewards/"));
  return Object.fromEntries(kept.map(([key, value]) => [`validation_${key}`, value]));
}
