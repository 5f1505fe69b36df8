/** What became of the records of a data file: used, cut, or skipped and why. */
import { UserError } from "../errors";
import type { Located } from "./formats";
import type { BadRow } from "./row";

export interface Report {
  readonly read: number;
  readonly used: number;
  /** Examples that were longer than allowed, and the tokens that they lost. */
  readonly cut: number;
  readonly cutTokens: number;
  /** Answers that end with their row and were left open: those that are cut, and have no end token. */
  readonly open: number;
  /** What examples' records say besides and nobody reads, by its name: in how many, and the first. */
  readonly unread: Unread;
  /** By reason: how many, and the first of them. */
  readonly skipped: Groups;
  /** What is to be known of records that were used. */
  readonly told: Groups;
}

type Groups = ReadonlyMap<string, { readonly count: number; readonly first: BadRow }>;
type Unread = ReadonlyMap<string, { readonly count: number; readonly where: string }>;

/** What became of records of which none was cut. */
export function reportOf(
  read: number,
  used: readonly Pick<Located, "where" | "unread">[],
  bad: readonly BadRow[],
  told: readonly BadRow[] = [],
): Report {
  const unread = new Map<string, { count: number; where: string }>();
  for (const { where, unread: names = [] } of used) {
    for (const name of names) {
      const known = unread.get(name);
      if (known) known.count++;
      else unread.set(name, { count: 1, where });
    }
  }
  const groups = { skipped: grouped(bad), told: grouped(told) };
  return { read, used: used.length, cut: 0, cutTokens: 0, open: 0, unread, ...groups };
}

/** Reasons that differ only in numbers and names are one. */
function grouped(problems: readonly BadRow[]): Groups {
  const groups = new Map<string, { count: number; first: BadRow }>();
  for (const first of problems) {
    const reason = first.problem
      .replace(/ \(it has .*\)$/, "")
      .replace(/"[^"]*"/g, "...")
      .replace(/\d+/g, "...");
    const group = groups.get(reason);
    if (group) group.count++;
    else groups.set(reason, { count: 1, first });
  }
  return groups;
}

/** The report as lines to be read. */
export function reportLines(
  { read, used, cut, cutTokens, open, unread, skipped, told }: Report,
  what: string,
  unit = "examples",
): string[] {
  const all = [...skipped.values()].reduce((sum, { count }) => sum + count, 0);
  const left = open > 0 ? `, ${open} answers left open` : "";
  const lost = cut > 0 ? `, ${cut} cut by ${cutTokens} tokens in all${left}` : "";
  const names = [...unread].map(([name, { count, where }]) => `${name} (in ${count}, first ${where})`);
  return [
    `${what}: ${read} records read, ${used} ${unit}${lost}${all > 0 ? `, ${all} skipped` : ""}`,
    ...(names.length > 0 ? [`  not read: ${names.join("; ")}`] : []),
    ...linesOf("skipped", skipped),
    ...linesOf("used", told),
  ];
}

function linesOf(what: string, groups: Groups): string[] {
  return [...groups.values()].map(
    ({ count, first }) => `  ${what} ${count}: ${count > 1 ? "first " : ""}${first.where}: ${first.problem}`,
  );
}

export function addReports(a: Report, b: Report): Report {
  return {
    read: a.read + b.read,
    used: a.used + b.used,
    cut: a.cut + b.cut,
    cutTokens: a.cutTokens + b.cutTokens,
    open: a.open + b.open,
    unread: added(a.unread, b.unread),
    skipped: added(a.skipped, b.skipped),
    told: added(a.told, b.told),
  };
}

function added<T extends { readonly count: number }>(
  a: ReadonlyMap<string, T>,
  b: ReadonlyMap<string, T>,
): ReadonlyMap<string, T> {
  const sum = new Map(a);
  for (const [name, one] of b) {
    const before = sum.get(name);
    sum.set(name, before ? { ...before, count: before.count + one.count } : one);
  }
  return sum;
}

/** The error where the first record that cannot be used is to stop the work. */
export function stopped({ where, problem }: BadRow): UserError {
  return new UserError(`${where}: ${problem}`, { hint: "without --strict such records are skipped and counted" });
}
