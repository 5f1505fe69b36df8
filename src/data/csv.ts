/** Rows of tables as text: cells between commas, semicolons, tabs or bars, whatever the line ends. The first line names the columns. */
import { parse } from "csv-parse/sync";
import { messageOf, UserError } from "../errors";
import type { BadRow, Row, Rows } from "./row";

/** What every table is read with. A line end is any of the three, wherever: files are joined by hand, and edited here and there. */
const table = {
  record_delimiter: ["\r\n", "\n", "\r"],
  relax_column_count: true,
  skip_empty_lines: true,
  info: true,
};

interface Parsed {
  readonly record: readonly string[];
  readonly info: { readonly empty_lines: number };
}

/** The first of them goes before others that part the first line as often. */
const delimiters = { csv: [",", ";", "\t", "|"], tsv: ["\t", ",", ";", "|"] } as const;

/** A first line that says what stands between cells, as spreadsheets write and read it. */
const SEPARATOR_LINE = /^\ufeff?sep=(.)(?:\r\n|\n|\r)/i;

export function readTable(text: string, path: string, ending: keyof typeof delimiters): Rows {
  const [said, separator] = SEPARATOR_LINE.exec(text) ?? ["", undefined];
  const given = text.slice(said.length);
  const parsed = parsedTable(given, path, separator ?? delimiterOf(given, delimiters[ending]));
  const names = parsed[0]!.record.map((name, i) => name.trim() || `column ${i + 1}`);
  const twice = names.find((name, i) => names.indexOf(name) < i);
  if (twice !== undefined)
    throw new UserError(`${path} has two columns named ${twice}`, { hint: "rename one of them, or leave it out" });
  const rows: Row[] = [];
  const bad: BadRow[] = [];
  let line = said === "" ? 1 : 2;
  for (const [i, { record, info }] of parsed.entries()) {
    const where = `${path}:${line + info.empty_lines}`;
    line += 1 + record.reduce((sum, cell) => sum + lineEnds(cell), 0);
    if (i === 0 || record.every((cell) => cell.trim() === "")) continue;
    if (record.length === names.length)
      rows.push({ fields: Object.fromEntries(names.map((name, i) => [name, record[i]])), where });
    else
      bad.push({
        where,
        problem: `it has ${count(record.length, "cell")}, and the table has ${count(names.length, "column")}`,
      });
  }
  return { rows, bad };
}

/** Other ways to write quotes, tried in turn where the common one does not fit. */
const dialects = [
  // A backslash before a quote, as databases write it.
  { escape: "\\" },
  // Blanks between a delimiter and a quote.
  { trim: true },
];

function parsedTable(text: string, path: string, delimiter: string): readonly Parsed[] {
  const read = (options: object) => parse(text, { ...table, delimiter, ...options }) as unknown as Parsed[];
  try {
    return read({});
  } catch (error) {
    // Between tabs most programs write quotes as they are, and lines are rows.
    for (const options of delimiter === "\t" ? [...dialects, { quote: false }] : dialects) {
      try {
        const rows = read(options);
        if (rows.length > 1 && rows.every(({ record }) => record.length === rows[0]!.record.length)) return rows;
      } catch {
        // The first way's error says more.
      }
    }
    const { lines } = error as { readonly lines?: number };
    throw new UserError(`${path}${lines ? `:${lines}` : ""}: broken CSV: ${messageOf(error)}`, {
      hint: "the first line names the columns; text with commas stands between double quotes",
    });
  }
}

/** What parts the first line into the most cells. */
function delimiterOf(text: string, candidates: readonly string[]): string {
  const head = text.slice(0, 1 << 16);
  const cells = (delimiter: string): number => {
    try {
      return (parse(head, { ...table, delimiter, to: 1 }) as unknown as Parsed[])[0]?.record.length ?? 0;
    } catch {
      return 0;
    }
  };
  return candidates.reduce((best, next) => (cells(next) > cells(best) ? next : best));
}

function lineEnds(cell: string): number {
  return cell.match(/\r\n|\n|\r/g)?.length ?? 0;
}

function count(n: number, what: string): string {
  return `${n} ${what}${n === 1 ? "" : "s"}`;
}
