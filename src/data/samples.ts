/** The samples of a data file: its rows read and converted; what cannot be used is kept with its reason. */
import { UserError } from "../errors";
import { convert, type Format, type Located, recognise } from "./formats";
import type { TreeOptions } from "./oasst";
import { readRecords } from "./records";
import { stopped } from "./report";
import type { BadRow, Rows } from "./row";

export interface LoadOptions {
  readonly trees: TreeOptions;
  /** What the records are; found by their fields if absent. */
  readonly format?: Format | undefined;
  /** Stops at the first record that cannot be used. */
  readonly strict: boolean;
}

export interface Loaded {
  readonly format: Format;
  readonly read: number;
  readonly samples: readonly Located[];
  readonly bad: readonly BadRow[];
}

/** The samples of a data file. */
export async function loadSamples(
  file: string,
  { name: path = file, ...options }: LoadOptions & { readonly name?: string },
): Promise<Loaded> {
  return samplesIn(await readRecords(file, path), path, options);
}

/** The same of records that were read. */
export function samplesIn({ rows, bad }: Rows, path: string, { format: forced, trees, strict }: LoadOptions): Loaded {
  const format = forced ?? recognise(rows);
  const converted = convert(rows, format, trees);
  const all = [...bad, ...converted.bad];
  if (strict && all.length) throw stopped(all[0]!);
  if (converted.samples.length === 0)
    throw new UserError(`${path} has no record that can be used as ${format}: ${all[0]!.where}: ${all[0]!.problem}`);
  return { format, read: converted.read + bad.length, samples: converted.samples, bad: all };
}
