/** The preferences of a data file: its rows read and converted; what cannot be used is kept with its reason. */
import { UserError } from "../errors";
import type { LoadOptions } from "./loaded";
import {
  convertPreferences,
  type LocatedPreference,
  type PreferenceFormat,
  type Ranking,
  recognisePreferences,
} from "./preferred";
import { readRecords } from "./records";
import { stopped } from "./report";
import type { BadRow, Rows } from "./row";

export interface LoadedPreferences {
  readonly format: PreferenceFormat;
  readonly read: number;
  readonly preferences: readonly LocatedPreference[];
  readonly bad: readonly BadRow[];
}

export type PreferenceOptions = Omit<LoadOptions, "format"> & {
  readonly format?: PreferenceFormat | undefined;
  readonly ranking?: Ranking | undefined;
};

/** `name`: what the file is called in messages. */
export async function loadPreferences(
  file: string,
  { name: path = file, ...options }: PreferenceOptions & { readonly name?: string },
): Promise<LoadedPreferences> {
  return preferencesIn(await readRecords(file, path), path, options);
}

/** The same of records that were read. */
export function preferencesIn(
  { rows, bad }: Rows,
  path: string,
  { format: forced, trees, strict, ranking }: PreferenceOptions,
): LoadedPreferences {
  const format = forced ?? recognisePreferences(rows);
  const converted = convertPreferences(rows, format, trees, ranking);
  const all = [...bad, ...converted.bad];
  if (strict && all.length) throw stopped(all[0]!);
  if (converted.preferences.length === 0)
    throw new UserError(`${path} has no record that can be used as ${format}: ${all[0]!.where}: ${all[0]!.problem}`);
  return { format, read: converted.read + bad.length, preferences: converted.preferences, bad: all };
}
