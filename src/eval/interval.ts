/** A mean, and between which bounds it lies in 95 of 100 cases. */
export interface Interval {
  readonly mean: number;
  readonly low: number;
  readonly high: number;
  readonly count: number;
}

/** Deviations to each side that hold 95% of a normal distribution. */
const Z = 1.959963984540054;

/** Null where there is nothing. Of shares, values from 0 to 1, by Wilson's bounds, else by the normal distribution's. */
export function interval(values: readonly number[]): Interval | null {
  const count = values.length;
  if (count === 0) return null;
  const mean = values.reduce((sum, value) => sum + value, 0) / count;
  if (values.every((value) => value >= 0 && value <= 1)) {
    const whole = 1 + Z ** 2 / count;
    const centre = (mean + Z ** 2 / (2 * count)) / whole;
    const reach = (Z / whole) * Math.sqrt((mean * (1 - mean)) / count + Z ** 2 / (4 * count ** 2));
    return { mean, low: Math.max(0, centre - reach), high: Math.min(1, centre + reach), count };
  }
  const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  const reach = Z * Math.sqrt(squares / Math.max(1, count - 1) / count);
  return { mean, low: mean - reach, high: mean + reach, count };
}
