/** The samples of a data file: its rows read and converted; what cannot be used is kept with its reason. */
import { UserError } from "../errors";
import { arePairs, chosenIn } from "./chosen";
import { convert, recognise } from "./formats";
import type { Loaded, LoadOptions } from "./loaded";
import { readRecords } from "./records";
import { stopped } from "./report";
import type { Rows } from "./row";

/** The samples of a data file. */
export async function loadSamples(
  file: string,
  { name: path = file, ...options }: LoadOptions & { readonly name?: string },
): Promise<Loaded> {
  return samplesIn(await readRecords(file, path), path, options);
}

/** The same of records that were read. Of pairs the chosen answers are examples. */
export function samplesIn(read: Rows, path: string, { format: forced, trees, strict }: LoadOptions): Loaded {
  const { rows, bad } = read;
  if (forced === undefined && arePairs(rows)) return chosenIn(read, path, { trees, strict });
  const format = forced ?? recognise(rows);
  const converted = convert(rows, format, trees);
  const all = [...bad, ...converted.bad];
  if (strict && all.length) throw stopped(all[0]!);
  if (converted.samples.length === 0)
    throw new UserError(`${path} has no record that can be used as ${format}: ${all[0]!.where}: ${all[0]!.problem}`);
  return { format, read: converted.read + bad.length, samples: converted.samples, bad: all };
}
