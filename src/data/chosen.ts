/** Pairs of answers as examples: what is asked, and the better answer as the expected one. */
import type { Located } from "./formats";
import { preferencesIn } from "./preference-samples";
import { preferenceFormatOf } from "./preferred";
import type { Rows } from "./row";
import type { Loaded, LoadOptions } from "./samples";

/** Whether records are pairs, chosen and rejected. The first ones decide. */
export function arePairs({ rows }: Pick<Rows, "rows">): boolean {
  const found = rows.slice(0, 20).flatMap(({ fields }) => preferenceFormatOf(fields) ?? []);
  return found[0] === "pairs";
}

/** The chosen sides of pairs. */
export function chosenIn(rows: Rows, path: string, options: Omit<LoadOptions, "format">): Loaded {
  const { preferences, read, bad } = preferencesIn(rows, path, { ...options, format: "pairs" });
  const samples = preferences.flatMap((one): Located[] =>
    one.kind === "pair" ? [{ ...one.chosen, where: one.where, ...(one.unread && { unread: one.unread }) }] : [],
  );
  return { format: "messages", read, samples, bad };
}
