/** The rows of a data file: JSON, JSON Lines, tables of text or Parquet, gzipped too. */
import { extname } from "node:path";
import { parquetReadObjects } from "hyparquet";
import { compressors } from "hyparquet-compressors";
import { messageOf, UserError } from "../errors";
import { plainTextOf } from "../files";
import { END_OF_TEXT } from "../text/files";
import { contentOf, isParquet } from "./content";
import { readTable } from "./csv";
import { isObject, readJsonRows } from "./json";
import type { Rows } from "./row";

const endings = ["json", "jsonl", "ndjson", "csv", "tsv", "parquet", "txt"] as const;
type Ending = (typeof endings)[number];

/** Reads a file whole; `path` is what it is called in messages. Throws a UserError where nothing of it can be read. */
export async function readRows(file: string, path = file): Promise<Rows> {
  const content = await contentOf(file, { what: path, hint: "give the path of a data file" });
  // A data set has only a name, and its file an ending.
  const named = [endingOf(path), endingOf(file)].filter((ending) => ending !== null);
  const ending = named.length > 0 ? named.find(isEnding) : endingBy(content);
  if (ending === undefined) throw unknownEnding(path);
  if (ending === "parquet") return readParquet(content, path);
  const text = plainTextOf(content, path);
  if (text.trim() === "") throw new UserError(`${path} is empty`, { hint: "give a file of records" });
  switch (ending) {
    case "json":
    case "jsonl":
    case "ndjson":
      return readJsonRows(text, path);
    case "csv":
    case "tsv":
      return readTable(text, path, ending);
    case "txt":
      return readDocuments(text, path);
    default:
      throw new Error(`ending ${ending satisfies never}`);
  }
}

/** `csv` of `dir/Table.CSV.gz`; null where the name has none. */
function endingOf(path: string): string | null {
  return extname(path.replace(/\.gz$/i, "")).slice(1).toLowerCase() || null;
}

const isEnding = (ending: string): ending is Ending => endings.some((each) => each === ending);

function unknownEnding(path: string): UserError {
  return new UserError(`${path}: records are read from ${endings.map((each) => `.${each}`).join(", ")}`, {
    hint: "name the file by what it holds",
  });
}

/** What has no name, such as a pipe, is known by how it begins. */
function endingBy(content: Uint8Array): Ending {
  if (isParquet(content)) return "parquet";
  const head = new TextDecoder().decode(content.subarray(0, 4096)).trimStart();
  return head.startsWith("{") || head.startsWith("[") ? "jsonl" : "csv";
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
  if (!isObject(value) || value instanceof Date) return value;
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
