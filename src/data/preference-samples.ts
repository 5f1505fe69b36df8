/** The preferences of a data file: its rows read and converted; what cannot be used is kept with its reason. */
import { UserError } from "../errors";
import { unfolded, withLists } from "./nested";
import { convertPreferences, type LocatedPreference, type PreferenceFormat, recognisePreferences } from "./preferred";
import { stopped } from "./report";
import type { BadRow } from "./row";
import { readRows } from "./rows";
import type { LoadOptions } from "./samples";

export interface LoadedPreferences {
  readonly format: PreferenceFormat;
  readonly read: number;
  readonly preferences: readonly LocatedPreference[];
  readonly bad: readonly BadRow[];
}

export async function loadPreferences(
  file: string,
  {
    format: forced,
    trees,
    strict,
    name: path = file,
  }: Omit<LoadOptions, "format"> & { readonly format?: PreferenceFormat | undefined },
): Promise<LoadedPreferences> {
  const { rows: read, bad } = unfolded(await readRows(file, path), path);
  const rows = read.map(withLists);
  if (rows.length === 0) throw new UserError(`${path} has no record: ${bad[0]?.problem ?? "it is empty"}`);
  const format = forced ?? recognisePreferences(rows);
  const converted = convertPreferences(rows, format, trees);
  const all = [...bad, ...converted.bad];
  if (strict && all.length) throw stopped(all[0]!);
  if (converted.preferences.length === 0)
    throw new UserError(`${path} has no record that can be used as ${format}: ${all[0]!.where}: ${all[0]!.problem}`);
  return { format, read: converted.read + bad.length, preferences: converted.preferences, bad: all };
}
