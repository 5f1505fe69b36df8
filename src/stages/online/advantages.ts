/** What answers are worth beside others: group-relative advantages (https://arxiv.org/abs/2402.03300, section 4.1.2), leave-one-out, several rewards. */

/** Of an answer; null where nothing judges it. */
export type Score = number | null;

/** Rewards of a group that differ by no more are the same: two ways to sum up floats may differ in their last bits. */
const SAME = 1e-8;
/** Added to a deviation before it divides, as TRL's GRPOTrainer does. */
const EPSILON = 1e-4;

export type Scale = "group" | "batch" | "none";
export type Aggregation = "sum_then_normalize" | "normalize_then_sum";

export interface Advantages {
  /** 0 for an answer that nothing judges. */
  readonly values: readonly number[];
  /** Of each group whether its rewards differ: without that it teaches nothing. */
  readonly signal: readonly boolean[];
}

/** The weighted sum of an answer's rewards; null where none judges it. `rewards`: by reward, then by answer. */
export function summed(rewards: readonly (readonly Score[])[], weights: readonly number[]): Score[] {
  return rewards[0]!.map((_, i) => {
    const judged = rewards.flatMap((of, k) => (of[i] === null ? [] : [weights[k]! * of[i]!]));
    return judged.length === 0 ? null : judged.reduce((a, b) => a + b, 0);
  });
}

export interface GroupOptions {
  /** Answers of a prompt, which stand together. */
  readonly size: number;
  /** What divides the difference to the group's mean: its deviation, the whole batch's, or nothing. */
  readonly scale: Scale;
  readonly aggregation: Aggregation;
  readonly weights: readonly number[];
}

/** `rewards`: by reward, then by answer, group by group. */
export function groupAdvantages(
  rewards: readonly (readonly Score[])[],
  { size, scale, aggregation, weights }: GroupOptions,
): Advantages {
  const sums = summed(rewards, weights);
  if (aggregation === "sum_then_normalize" || rewards.length === 1) return normalised(sums, size, scale);
  // GDPO (https://arxiv.org/abs/2601.05242): each reward has the same say, however far it spreads; then the batch is normalised once.
  const each = rewards.map((of) => normalised(of, size, "group"));
  const total = sums.map((sum, i) =>
    sum === null ? null : each.reduce((a, of, k) => a + weights[k]! * of.values[i]!, 0),
  );
  const judged = total.filter((value) => value !== null);
  const center = meanOf(judged);
  const deviation = differ(judged) ? deviationOf(judged) : 0;
  return {
    values: total.map((value) => (value === null || deviation === 0 ? 0 : (value - center) / (deviation + EPSILON))),
    signal: each[0]!.signal.map((_, group) => each.some(({ signal }) => signal[group])),
  };
}

/** Each answer's reward less its group's mean, divided as `scale` says. */
function normalised(rewards: readonly Score[], size: number, scale: Scale): Advantages {
  const all = rewards.filter((value) => value !== null);
  const whole = deviationOf(all);
  const found = groupsOf(rewards, size).map((group) => {
    const judged = group.filter((value) => value !== null);
    if (!differ(judged)) return { values: group.map(() => 0), signal: false };
    const center = meanOf(judged);
    const by = { group: deviationOf(judged) + EPSILON, batch: whole + EPSILON, none: 1 }[scale];
    return { values: group.map((value) => (value === null ? 0 : (value - center) / by)), signal: true };
  });
  return { values: found.flatMap(({ values }) => values), signal: found.map(({ signal }) => signal) };
}

/** Each answer's reward less the mean of its group's others (https://arxiv.org/abs/2402.14740, equation 8). */
export function leaveOneOut(
  rewards: readonly Score[],
  { size, normalise }: { readonly size: number; readonly normalise: boolean },
): Advantages {
  const found = groupsOf(rewards, size).map((group) => {
    const judged = group.filter((value) => value !== null);
    if (!differ(judged)) return { values: group.map(() => null), signal: false };
    const sum = judged.reduce((a, b) => a + b, 0);
    const others = judged.length - 1;
    return { values: group.map((value) => (value === null ? null : value - (sum - value) / others)), signal: true };
  });
  const values = found.flatMap(({ values }): Score[] => values);
  const judged = values.filter((value) => value !== null);
  const signal = found.map(({ signal }) => signal);
  if (!normalise) return { values: values.map((value) => value ?? 0), signal };
  const [center, deviation] = [meanOf(judged), deviationOf(judged)];
  return { values: values.map((value) => (value === null ? 0 : (value - center) / (deviation + EPSILON))), signal };
}

/** Whether any two of them differ. By their range: a deviation of what is equal may not be 0. */
export function differ(values: readonly number[]): boolean {
  return values.length > 1 && rangeOf(values) > SAME;
}

function rangeOf(values: readonly number[]): number {
  return values.reduce((a, b) => Math.max(a, b)) - values.reduce((a, b) => Math.min(a, b));
}

function groupsOf<T>(all: readonly T[], size: number): T[][] {
  return Array.from({ length: all.length / size }, (_, i) => all.slice(i * size, (i + 1) * size));
}

/** 0 of nothing. */
export function meanOf(values: readonly number[]): number {
  return values.length === 0 ? 0 : values.reduce((a, b) => a + b, 0) / values.length;
}

/** Over n - 1; 0 of one or none. */
export function deviationOf(values: readonly number[]): number {
  if (values.length < 2) return 0;
  const center = meanOf(values);
  return Math.sqrt(values.reduce((sum, value) => sum + (value - center) ** 2, 0) / (values.length - 1));
}
