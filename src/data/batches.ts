/** Batches of next-token training: windows of a long run of tokens, a function of (seed, step). */
import { UserError } from "../errors";
import { randomAt } from "../ops/random";
import type { TokenArray } from "./corpus";

export interface Split {
  readonly train: TokenArray;
  readonly validation: TokenArray;
}

/** The last `fraction` of the tokens is for validation. */
export function splitOff(tokens: TokenArray, fraction: number): Split {
  const cut = Math.round(tokens.length * (1 - fraction));
  return { train: tokens.subarray(0, cut), validation: tokens.subarray(cut) };
}

export interface BatchShape {
  readonly rows: number;
  /** Tokens of a row. */
  readonly tokens: number;
}

export interface Window {
  readonly tokens: Uint32Array;
  /** The tokens one further on. */
  readonly targets: Uint32Array;
}

/** Refuses a corpus without a single window. */
export function expectWindow(tokens: TokenArray, length: number, what: string): void {
  if (tokens.length > length) return;
  throw new UserError(`${what} has ${tokens.length} tokens, fewer than one row of ${length} and its next token`, {
    hint: "use a longer text, fewer tokens a row, or another validation share",
  });
}

/** Writes the micro-batch number `index` into `into`: random windows, drawn with `seed`. */
export function randomWindows(
  from: TokenArray,
  { rows, tokens: length }: BatchShape,
  { seed, index, into }: { seed: number; index: number; into: Window },
): void {
  const places = from.length - length;
  for (let row = 0; row < rows; row++) {
    // Two draws of 24 bits, since a corpus may have more places than one draw tells apart.
    const draw = (stream: number) => randomAt(seed, stream, index * rows + row);
    copyWindow(from, Math.floor((draw(1) + draw(2) / 2 ** 24) * places), length, row, into);
  }
}

/** Writes evenly spaced windows, the same at every evaluation: batch `index` of `count`. */
export function evenWindows(
  from: TokenArray,
  { rows, tokens: length }: BatchShape,
  { index, count, into }: { index: number; count: number; into: Window },
): void {
  const places = from.length - length;
  for (let row = 0; row < rows; row++) {
    const at = Math.floor(((index * rows + row) / (count * rows)) * places);
    copyWindow(from, at, length, row, into);
  }
}

function copyWindow(from: TokenArray, start: number, length: number, row: number, { tokens, targets }: Window): void {
  for (let i = 0; i < length; i++) {
    tokens[row * length + i] = from[start + i]!;
    targets[row * length + i] = from[start + i + 1]!;
  }
}

export function windowOf({ rows, tokens }: BatchShape): Window {
  return { tokens: new Uint32Array(rows * tokens), targets: new Uint32Array(rows * tokens) };
}
