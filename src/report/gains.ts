/** What a stage has gained: held-out figures before it and after it. */
import { aligned } from "../log/aligned";
import { duration, memory } from "../log/console";
import { TOKENIZER_FOLDER } from "../train/run-folder";
import { number, told } from "./measured";
import type { RunReport, StageReport } from "./run";

export interface Gain {
  /** What was measured. */
  readonly figure: string;
  /** Empty where it was not measured. */
  readonly before: string;
  readonly after: string;
}

/** In the order of what says most: metrics of evaluations by the ends of their names, and what they are called. */
const figures: readonly (readonly [metric: string, name: string, share: boolean])[] = [
  ["reward", "reward", false],
  ["accuracy", "pairs told right", true],
  ["loss", "loss", false],
];

/** All that was measured of a stage while it was trained, at its first evaluation and at its last. */
export function changesOf({ points }: StageReport): Gain[] {
  const names = [...new Set(points.flatMap(({ values }) => Object.keys(values)))].filter((name) =>
    name.startsWith(HELD_OUT),
  );
  return names.map((name) => {
    const found = points.filter(({ values }) => name in values);
    const [first, last] = [found[0]!, found.at(-1)!];
    const [, figure, share] = figures.find(([metric]) => name === HELD_OUT + metric) ?? [
      "",
      name.slice(HELD_OUT.length),
      false,
    ];
    const at = (value: number) => told(value, { share });
    const step = first.step > 0 ? ` (step ${first.step})` : "";
    return {
      figure,
      before: found.length > 1 ? `${at(first.values[name]!)}${step}` : "",
      after: at(last.values[name]!),
    };
  });
}

const HELD_OUT = "validation_";

/** The figures that say most of a stage, few enough for one table of all stages. */
export function gainsOf(stage: StageReport): Gain[] {
  const { quantised, results } = stage;
  if (quantised) {
    const { bytes, measured, scheme } = quantised;
    return [
      { figure: `size in ${scheme}`, before: memory(bytes.before), after: memory(bytes.after) },
      ...(measured
        ? [
            {
              figure: "perplexity",
              before: number(measured.perplexity.before),
              after: number(measured.perplexity.after),
            },
          ]
        : []),
    ];
  }
  if (results.length > 0) return compared(results);
  const all = changesOf(stage);
  return figures.flatMap(([, name]) => all.find(({ figure }) => figure === name) ?? []).slice(0, 1);
}

/** The first figure of each measurement: the first model's, and that of each other one. */
function compared(results: StageReport["results"]): Gain[] {
  return [...Map.groupBy(results, ({ name }) => name)].flatMap(([entry, of]) => {
    const [first, ...others] = of.map(({ model, table }) => ({ model, found: table[0] }));
    if (!first?.found) return [];
    const cell = ({ found }: typeof first) => (found && found.value !== null ? told(found.value, found) : "none");
    const figure = entry === first.found.name ? entry : `${entry}, ${first.found.name}`;
    if (others.length === 0) return [{ figure: `${figure}: ${first.model}`, before: "", after: cell(first) }];
    return others.map((other) => ({
      figure: `${figure}: ${first.model} -> ${other.model}`,
      before: cell(first),
      after: cell(other),
    }));
  });
}

/** Of the run's own tokenizer, beside one of bytes; empty where it has none. */
export function tokenizerGain({ bytesPerToken }: RunReport): Gain[] {
  return bytesPerToken === null ? [] : [{ figure: "bytes a token", before: number(1), after: number(bytesPerToken) }];
}

export function secondsOf({ began, finished }: StageReport): number | null {
  return began && finished ? (finished.getTime() - began.getTime()) / 1000 : null;
}

/** A line each, for a terminal: every stage with what it has gained. */
export function gainLines(run: RunReport): string[] {
  const tokenizer = tokenizerGain(run).map(({ figure, before, after }) => [
    TOKENIZER_FOLDER,
    figure,
    before,
    after,
    "",
  ]);
  const rows = run.stages.flatMap((stage) => {
    const seconds = secondsOf(stage);
    const time = seconds === null ? stage.state : duration(seconds);
    const gains = gainsOf(stage);
    if (gains.length === 0) return [[stage.name, "", "", "", time]];
    return gains.map(({ figure, before, after }, i) => [
      i === 0 ? stage.name : "",
      figure,
      before,
      after,
      i === 0 ? time : "",
    ]);
  });
  return aligned([["stage", "held out", "before", "after", "time"], ...tokenizer, ...rows]);
}
