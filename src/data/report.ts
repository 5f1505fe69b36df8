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
  readonly skipped: Groups;
  /** What is to be known of records that were used. */
  readonly told: Groups;
}

type Groups = ReadonlyMap<string, { readonly count: number; readonly first: BadRow }>;

/** What became of records of which none was cut. */
export function reportOf(read: number, used: number, bad: readonly BadRow[], told: readonly BadRow[] = []): Report {
  return { read, used, cut: 0, cutTokens: 0, skipped: grouped(bad), told: grouped(told) };
}

/** Reasons that differ only in numbers and names are one. */
function grouped(problems: readonly BadRow[]): Groups {
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
export function reportLines({ read, used, cut, cutTokens, skipped, told }: Report, what: string): string[] {
  const all = [...skipped.values()].reduce((sum, { count }) => sum + count, 0);
  const lost = cut > 0 ? `, ${cut} cut by ${cutTokens} tokens in all` : "";
  return [
    `${what}: ${read} records read, ${used} examples${lost}${all > 0 ? `, ${all} skipped` : ""}`,
    ...linesOf("skipped", skipped),
    ...linesOf("used", told),
  ];
}

function linesOf(what: string, groups: Groups): string[] {
  return [...groups.values()].map(
    ({ count, first }) => `  ${what} ${count}: ${count > 1 ? "first " : ""}${first.where}: ${first.problem}`,
  );
}

function added(a: Groups, b: Groups): Groups {
  const sum = new Map(a);
  for (const [reason, { count, first }] of b) {
    const before = sum.get(reason);
    sum.set(reason, before ? { ...before, count: before.count + count } : { count, first });
  }
  return sum;
}

export function addReports(a: Report, b: Report): Report {
  return {
    read: a.read + b.read,
    used: a.used + b.used,
    cut: a.cut + b.cut,
    cutTokens: a.cutTokens + b.cutTokens,
    skipped: added(a.skipped, b.skipped),
    told: added(a.told, b.told),
  };
}

/** The error where the first record that cannot be used is to stop the work. */
export function stopped({ where, problem }: BadRow): UserError {
  return new UserError(`${where}: ${problem}`, { hint: "without --strict such records are skipped and counted" });
}
