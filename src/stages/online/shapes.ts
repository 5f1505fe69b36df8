/** The sizes of micro-batches over answers that are not known before they are written: a few are prepared, and the least that fits is taken. */
import type { Example } from "../../data/examples";

export interface Sizes {
  /** Answers of a micro-batch. */
  readonly rows: number;
  /** Tokens of a prompt with its answer at most, and at least. */
  readonly longest: number;
  readonly shortest: number;
  /** Tokens of an answer at most. */
  readonly tokens: number;
}

export interface Shape {
  /** Tokens of a row. */
  readonly length: number;
  /** Tokens that are predicted, of all rows. */
  readonly targets: number;
}

export interface Placed {
  /** Which of the shapes. */
  readonly shape: number;
  /** Which of the answers, a row each. */
  readonly items: readonly number[];
}

const QUARTERS = [1 / 4, 1 / 2, 3 / 4, 1];
/** Targets of a shape are a multiple of it: views of their rows are aligned so. */
const ALIGNED = 8;

/** Rows of a quarter of the length, half of it and so on, each for several counts of targets; the largest last. */
export function shapesFor({ rows, longest, shortest, tokens }: Sizes): Shape[] {
  const lengths = QUARTERS.map((share) => Math.ceil(share * longest)).filter((length) => length >= shortest);
  return [...new Set(lengths)].flatMap((length) => {
    const most = rows * Math.min(length - 1, tokens);
    const counts = QUARTERS.map((share) => ALIGNED * Math.ceil((share * most) / ALIGNED));
    return [...new Set(counts)].map((targets) => ({ length, targets }));
  });
}

/** Those of like size together, in micro-batches of so many rows. */
export function placed(answers: readonly Example[], shapes: readonly Shape[], rows: number): Placed[] {
  const sizeOf = (at: number) => answers[at]!.ids.length;
  const order = answers.map((_, i) => i).sort((a, b) => sizeOf(a) - sizeOf(b) || a - b);
  return Array.from({ length: Math.ceil(order.length / rows) }, (_, i) => {
    const chosen = order.slice(i * rows, (i + 1) * rows);
    const length = chosen.reduce((most, at) => Math.max(most, sizeOf(at)), 0);
    const targets = chosen.reduce((sum, at) => sum + answers[at]!.targets, 0);
    const shape = shapes.findIndex((shape) => shape.length >= length && shape.targets >= targets);
    if (shape < 0) throw new Error(`no shape has room for ${length} tokens and ${targets} targets`);
    return { shape, items: chosen };
  });
}
