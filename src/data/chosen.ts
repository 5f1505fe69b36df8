/** Pairs of answers as examples: what is asked, and the better answer as the expected one. */
import type { Located } from "./formats";
import type { Loaded, LoadOptions } from "./loaded";
import { preferencesIn } from "./preference-samples";
import { preferenceFormatOf } from "./preferred";
import type { Rows } from "./row";

/** Whether records are pairs, chosen and rejected. The first ones decide. */
export function arePairs(rows: Rows["rows"]): boolean {
  const found = rows.slice(0, 20).flatMap(({ fields }) => preferenceFormatOf(fields) ?? []);
  return found[0] === "pairs";
}

/** The chosen sides of pairs. */
export function chosenIn(rows: Rows, path: string, options: Omit<LoadOptions, "format">): Loaded {
  const { preferences, read, bad } = preferencesIn(rows, path, { ...options, format: "pairs" });
  const samples = preferences.flatMap((one): Located[] =>
    one.kind === "pair" ? [{ ...one.chosen, where: one.where, ...(one.unread && { unread: one.unread }) }] : [],
  );
  return { format: "messages", said: "pairs, of each the chosen answer", read, samples, bad };
}
