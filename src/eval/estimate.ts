/** What is told of a number that was found from a sample: itself, and how far off it may be. */
export interface Estimate {
  readonly value: number;
  /** Null where a single observation tells nothing of it. */
  readonly stderr: number | null;
}

/** A mean. */
export function estimate(values: readonly number[]): Estimate {
  return { value: values.reduce((sum, value) => sum + value, 0) / values.length, stderr: standardError(values) };
}

/** exp of a number. Its standard error is, by the delta method, the number's own times the value. */
export function exponential({ value, stderr }: Estimate): Estimate {
  return { value: Math.exp(value), stderr: stderr === null ? null : Math.exp(value) * stderr };
}

/** The mean of numbers that are independent of one another, each with a standard error of its own. */
export function meanOf(estimates: readonly Estimate[]): Estimate {
  const errors = estimates.flatMap(({ stderr }) => stderr ?? []);
  const whole = errors.length === estimates.length;
  return {
    value: estimates.reduce((sum, { value }) => sum + value, 0) / estimates.length,
    stderr: whole ? Math.hypot(...errors) / estimates.length : null,
  };
}

/** Of the mean: the sample's deviation, by n - 1, over the root of n. Null for fewer than two values. */
export function standardError(values: readonly number[]): number | null {
  return values.length < 2 ? null : deviation(values) / Math.sqrt(values.length);
}

/** By n - 1. */
export function deviation(values: readonly number[]): number {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  return Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (values.length - 1));
}
