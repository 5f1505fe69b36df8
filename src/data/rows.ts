/** The rows of a data file: JSON, JSON Lines, CSV or Parquet, the first three also gzipped. */
import { gunzipSync } from "node:zlib";
import { parse as parseCsv } from "csv-parse/sync";
import { parquetReadObjects } from "hyparquet";
import { compressors } from "hyparquet-compressors";
import { type ParseError, parse as parseJson, printParseErrorCode } from "jsonc-parser";
import { messageOf, UserError } from "../errors";
import { textOf, unreadable } from "../files";
import { END_OF_TEXT } from "../text/files";

export interface Row {
  readonly fields: Readonly<Record<string, unknown>>;
  /** `file:line` for files of lines, else `file, record 3`. */
  readonly where: string;
}

/** A line that is not what it should be. */
export interface BadRow {
  readonly where: string;
  readonly problem: string;
}

export interface Rows {
  readonly rows: readonly Row[];
  readonly bad: readonly BadRow[];
}

const endings = [".json", ".jsonl", ".ndjson", ".csv", ".parquet", ".txt"] as const;

/** Reads a file whole; `path` is what it is called in messages. Throws a UserError where nothing of it can be read. */
export async function readRows(file: string, path = file): Promise<Rows> {
  const bytes = await readBytes(file);
  const gzipped = path.endsWith(".gz");
  const name = gzipped ? path.slice(0, -3) : path;
  const content = gzipped ? unzipped(bytes, path) : bytes;
  if (name.endsWith(".parquet")) return readParquet(content, path);
  const text = textOf(content, path);
  if (text.trim() === "") throw new UserError(`${path} is empty`, { hint: `give a file of records` });
  if (name.endsWith(".jsonl") || name.endsWith(".ndjson")) return readLines(text, path);
  if (name.endsWith(".json")) return text.trimStart().startsWith("[") ? readArray(text, path) : readLines(text, path);
  if (name.endsWith(".csv")) return readCsv(text, path);
  if (name.endsWith(".txt")) return readDocuments(text, path);
  throw new UserError(`${path}: records are read from ${endings.join(", ")}`, {
    hint: "name the file by what it holds",
  });
}

async function readBytes(path: string): Promise<Uint8Array> {
  try {
    return await Bun.file(path).bytes();
  } catch (error) {
    throw unreadable(path, error, { hint: "give the path of a data file" });
  }
}

function unzipped(bytes: Uint8Array, path: string): Uint8Array {
  try {
    return gunzipSync(bytes);
  } catch (error) {
    throw new UserError(`${path} is not whole gzip data: ${messageOf(error)}`, { hint: "fetch it again" });
  }
}

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

function readLines(text: string, path: string): Rows {
  const rows: Row[] = [];
  const bad: BadRow[] = [];
  text.split("\n").forEach((line, i) => {
    if (line.trim() === "") return;
    const where = `${path}:${i + 1}`;
    let value: unknown;
    try {
      value = JSON.parse(line);
    } catch (error) {
      bad.push({ where, problem: `broken JSON: ${messageOf(error).replace(/^JSON Parse error: /, "")}` });
      return;
    }
    if (isRecord(value)) rows.push({ fields: value, where });
    else bad.push({ where, problem: `expected an object, got ${JSON.stringify(value).slice(0, 40)}` });
  });
  return { rows, bad };
}

function readArray(text: string, path: string): Rows {
  let values: unknown[];
  try {
    values = JSON.parse(text) as unknown[];
  } catch {
    throw brokenJson(text, path);
  }
  const rows: Row[] = [];
  const bad: BadRow[] = [];
  values.forEach((value, i) => {
    const where = `${path}, record ${i + 1}`;
    if (isRecord(value)) rows.push({ fields: value, where });
    else bad.push({ where, problem: `expected an object, got ${JSON.stringify(value).slice(0, 40)}` });
  });
  return { rows, bad };
}

/** JSON.parse does not say where: a parser that does is asked. */
function brokenJson(text: string, path: string): UserError {
  const errors: ParseError[] = [];
  parseJson(text, errors, { disallowComments: true });
  const [first] = errors;
  const before = text.slice(0, first?.offset ?? text.length);
  const line = before.split("\n").length;
  const what = first
    ? printParseErrorCode(first.error)
        .replace(/([a-z])([A-Z])/g, "$1 $2")
        .toLowerCase()
    : "it ends early";
  return new UserError(
    `${path}:${line}: broken JSON: ${what}, at ${JSON.stringify(text.slice(before.length, before.length + 20))}`,
    {
      hint: "a file of one object a line has the ending .jsonl",
    },
  );
}

function readCsv(text: string, path: string): Rows {
  try {
    const records = parseCsv(text, { columns: true, bom: true, info: true, skip_empty_lines: true }) as unknown as {
      readonly record: Record<string, string>;
      readonly info: { readonly lines: number };
    }[];
    return { rows: records.map(({ record, info }) => ({ fields: record, where: `${path}:${info.lines}` })), bad: [] };
  } catch (error) {
    const { lines } = error as { readonly lines?: number };
    throw new UserError(`${path}${lines ? `:${lines}` : ""}: broken CSV: ${messageOf(error)}`, {
      hint: "the first line names the columns; text with commas stands between double quotes",
    });
  }
}

async function readParquet(bytes: Uint8Array, path: string): Promise<Rows> {
  try {
    const file = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength) as ArrayBuffer;
    const records = await parquetReadObjects({ file, compressors });
    return {
      rows: records.map((fields, i) => ({ fields: plain(fields), where: `${path}, record ${i + 1}` })),
      bad: [],
    };
  } catch (error) {
    throw new UserError(`${path} cannot be read as Parquet: ${messageOf(error)}`, { hint: "fetch it again" });
  }
}

/** Parquet's 64-bit integers as numbers. */
function plain<T>(value: T): T {
  if (typeof value === "bigint") return Number(value) as T;
  if (Array.isArray(value)) return value.map(plain) as T;
  if (!isRecord(value) || value instanceof Date) return value;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, plain(inner)])) as T;
}

function readDocuments(text: string, path: string): Rows {
  const documents = text.split(END_OF_TEXT).map((part) => part.trim());
  return {
    rows: documents
      .filter((part) => part !== "")
      .map((part, i) => ({ fields: { text: part }, where: `${path}, document ${i + 1}` })),
    bad: [],
  };
}
