/** What is held out of a stage's items: a share by seed, another file, or nothing; and what is said where a file gives none. */
import { holdOut } from "../data/choose";
import { type Report, reportLines } from "../data/report";
import { UserError } from "../errors";
import type { ChatTemplate } from "../text/template";
import type { Tokenizer } from "../text/tokenizer";
import { NO_VALIDATION } from "./model-settings";

export interface Split<T> {
  readonly train: readonly T[];
  readonly held: readonly T[];
}

/** What a stage's data files come to. */
export interface Read<T> extends Split<T> {
  readonly template: ChatTemplate;
  readonly tokenizer: Tokenizer;
  /** What became of the records. */
  readonly lines: readonly string[];
}

export interface SplitOptions<T> {
  readonly validation: number | string;
  readonly seed: number;
  /** Items of one key are on one side. */
  keyOf(item: T): unknown;
  /** What is said where all have one key. */
  readonly alone: string;
  /** The items of the file that `validation` names. */
  read(path: string): Promise<readonly T[]>;
}

export async function split<T>(
  all: readonly T[],
  { validation, seed, keyOf, alone, read }: SplitOptions<T>,
): Promise<Split<T>> {
  if (validation === NO_VALIDATION) return { train: all, held: [] };
  if (typeof validation === "string") return { train: all, held: await read(validation) };
  if (new Set(all.map(keyOf)).size < 2) throw new UserError(alone, { hint: "give validation a file, or more data" });
  return holdOut(all, validation, seed, keyOf);
}

/** Of a file of which nothing can be used: why not is its hint. */
export function nothingLeft(path: string, what: string, report: Report): UserError {
  return new UserError(`${path}: no ${what} is left`, {
    hint: reportLines(report, path)
      .slice(1)
      .map((line) => line.trim())
      .join("; "),
  });
}
