/** Which curves a stage's report has, and their points: no more than can be seen. */
import type { Point } from "./run";

export interface Series {
  readonly name: string;
  readonly points: readonly (readonly [x: number, y: number])[];
}

export interface Chart {
  readonly title: string;
  readonly x: string;
  readonly series: readonly Series[];
}

/** Metrics that stand in one chart, by their ends: validation's beside training's. */
const families: readonly (readonly [title: string, metrics: RegExp])[] = [
  ["loss", /^(validation_)?(loss|nll|divergence)$/],
  ["reward", /^(validation_)?reward$/],
  ["accuracy", /^(validation_)?(mean_token_accuracy|accuracy|rewards\/accuracies)$/],
  ["margin", /^(validation_)?(margin|rewards\/margins)$/],
  ["divergence from the reference", /^(validation_)?(kl|objective\/kl|drift)$/],
  ["length of answers", /^(validation_length|completions\/mean_length)$/],
  ["entropy", /^(entropy|policy\/entropy)$/],
  ["norm of the gradient", /^grad_norm$/],
  ["learning rate", /^learning_rate$/],
];

export function chartsOf(points: readonly Point[]): Chart[] {
  const names = [...new Set(points.flatMap(({ values }) => Object.keys(values)))];
  const over = (name: string): Series => ({
    name,
    points: thinned(points.flatMap(({ step, values }) => (name in values ? [[step, values[name]!] as const] : []))),
  });
  const charts = families.flatMap(([title, metrics]): Chart[] => {
    const series = names
      .filter((name) => metrics.test(name))
      .map(over)
      .filter(({ points }) => points.length > 0);
    return series.length > 0 ? [{ title, x: "step", series }] : [];
  });
  const kl = names.find((name) => /^(kl|objective\/kl)$/.test(name));
  const both = kl ? points.filter(({ values }) => "reward" in values && kl in values) : [];
  if (both.length > 1) {
    const pairs = both.map(({ values }) => [values[kl!]!, values.reward!] as const);
    charts.splice(2, 0, {
      title: "reward against divergence",
      x: kl!,
      series: [{ name: "reward", points: thinned(pairs) }],
    });
  }
  return charts;
}

const MOST = 400;

/** The least and the largest of each stretch, in their order: peaks stay. */
export function thinned(points: readonly (readonly [number, number])[], most = MOST): (readonly [number, number])[] {
  const finite = points.filter(([, y]) => Number.isFinite(y));
  if (finite.length <= most) return [...finite];
  const stretch = finite.length / (most / 2);
  return Array.from({ length: most / 2 }, (_, i) =>
    finite.slice(Math.floor(i * stretch), Math.floor((i + 1) * stretch)),
  ).flatMap((some) => {
    if (some.length === 0) return [];
    const least = some.reduce((a, b) => (b[1] < a[1] ? b : a));
    const largest = some.reduce((a, b) => (b[1] > a[1] ? b : a));
    if (least === largest) return [least];
    return some.indexOf(least) < some.indexOf(largest) ? [least, largest] : [largest, least];
  });
}
