/** What became of the records of a data file: used, cut, or skipped and why. */
import { UserError } from "../errors";
import type { BadRow } from "./row";

export interface Report {
  readonly read: number;
  readonly used: number;
  /** Examples that were longer than allowed, and the tokens that they lost. */
  readonly cut: number;
  readonly cutTokens: number;
  /** By reason: how many, and the first of them. */
  readonly skipped: ReadonlyMap<string, { readonly count: number; readonly first: BadRow }>;
}

/** What became of records of which none was cut. */
export function reportOf(read: number, used: number, bad: readonly BadRow[]): Report {
  return { read, used, cut: 0, cutTokens: 0, skipped: grouped(bad) };
}

/** Reasons that differ only in numbers and names are one. */
function grouped(problems: readonly BadRow[]): Report["skipped"] {
  const groups = new Map<string, { count: number; first: BadRow }>();
  for (const first of problems) {
    const reason = first.problem
      .replace(/ \(it has .*\)$/, "")
      .replace(/"[^"]*"/g, "...")
      .replace(/turn \d+/, "a turn");
    const group = groups.get(reason);
    if (group) group.count++;
    else groups.set(reason, { count: 1, first });
  }
  return groups;
}

/** The report as lines to be read. */
export function reportLines({ read, used, cut, cutTokens, skipped }: Report, what: string): string[] {
  const all = [...skipped.values()].reduce((sum, { count }) => sum + count, 0);
  const lost = cut > 0 ? `, ${cut} cut by ${cutTokens} tokens in all` : "";
  return [
    `${what}: ${read} records read, ${used} examples${lost}${all > 0 ? `, ${all} skipped` : ""}`,
    ...[...skipped.values()].map(
      ({ count, first }) => `  skipped ${count}: ${count > 1 ? "first " : ""}${first.where}: ${first.problem}`,
    ),
  ];
}

export function addReports(a: Report, b: Report): Report {
  const skipped = new Map(a.skipped);
  for (const [reason, { count, first }] of b.skipped) {
    const before = skipped.get(reason);
    skipped.set(reason, before ? { ...before, count: before.count + count } : { count, first });
  }
  return {
    read: a.read + b.read,
    used: a.used + b.used,
    cut: a.cut + b.cut,
    cutTokens: a.cutTokens + b.cutTokens,
    skipped,
  };
}

/** The error where the first record that cannot be used is to stop the work. */
export function stopped({ where, problem }: BadRow): UserError {
  return new UserError(`${where}: ${problem}`, { hint: "without --strict such records are skipped and counted" });
}
