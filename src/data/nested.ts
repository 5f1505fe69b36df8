/** Records that lie inside something: in a list of the object that the whole file is, or in the text of a cell. */
import { UserError } from "../errors";
import { formatOf } from "./formats";
import { isObject, isTooDeep, listed, parsedJson, rowsOf } from "./json";
import { preferenceFormatOf } from "./preferred";
import type { Row, Rows } from "./row";

/** Levels of objects in which the list of records is looked for: `data`, or `data.train`. */
const LEVELS = 3;

/** Of a file that is one object and no record: the records of its one list of them. */
export function unfolded({ rows, bad }: Rows, path: string): Rows {
  const [only, ...more] = rows;
  if (!only || more.length > 0 || bad.length > 0 || isKnown(only.fields)) return { rows, bad };
  const found = listsIn(only.fields, "", LEVELS);
  if (found.length === 0) return { rows, bad };
  const [first, ...others] = found;
  if (others.length > 0)
    throw new UserError(
      `${path} is an object with ${found.length} lists of records: ${found.map(inWords).join(", ")}`,
      {
        hint: "make a file of each that is wanted",
      },
    );
  return rowsOf(listed(first!.list, `${path}: ${first!.name}`));
}

interface List {
  readonly name: string;
  readonly list: readonly unknown[];
}

function listsIn(value: Readonly<Record<string, unknown>>, above: string, levels: number): List[] {
  return Object.entries(value).flatMap(([key, inner]) => {
    const name = `${above}${key}`;
    if (Array.isArray(inner)) return inner.slice(0, 20).some(isRecord) ? [{ name, list: inner }] : [];
    return isObject(inner) && levels > 1 ? listsIn(inner, `${name}.`, levels - 1) : [];
  });
}

const isKnown = (fields: Row["fields"]): boolean =>
  formatOf(fields) !== undefined || preferenceFormatOf(fields) !== undefined;

const isRecord = (value: unknown): boolean => isObject(value) && isKnown(value);

const inWords = ({ name, list }: List): string => `${name} (${list.length})`;

/** A table has no lists: they stand in its cells as JSON. Where a text is expected it stays one, whatever it looks like. */
export function withLists(row: Row): Row {
  const lists = LISTS.flatMap((name) => {
    const list = listOf(row.fields[name]);
    return list ? [[name, list] as const] : [];
  });
  const turns = TURNS.flatMap((name) => {
    const list = listOf(row.fields[name]);
    return list?.every(isTurn) ? [[name, list] as const] : [];
  });
  const sides = SIDES.flatMap((name) => {
    const list = listOf(row.fields[name]);
    return list?.every(isTurn) ? [[name, list] as const] : [];
  });
  const info = objectOf(row.fields.info);
  const found = [
    ...lists,
    ...(turns.length === TURNS.length || SIDES.every((name) => name in row.fields) ? turns : []),
    ...sides,
    ...(info ? [["info", info] as const] : []),
  ];
  return found.length ? { ...row, fields: { ...row.fields, ...Object.fromEntries(found) } } : row;
}

/** Fields that are lists or nothing. */
const LISTS = ["messages", "conversations", "history", "completions", "summaries"];

/** Fields that are lists of turns or texts, each for itself. */
const SIDES = ["chosen", "rejected"];

/** Fields that are lists of turns both, or texts; beside two sides each for itself. */
const TURNS = ["prompt", "completion"];

function listOf(cell: unknown): readonly unknown[] | null {
  if (typeof cell !== "string" || !cell.trimStart().startsWith("[")) return null;
  const value = parsedJson(cell);
  return Array.isArray(value) && !isTooDeep(value) ? value : null;
}

function objectOf(cell: unknown): object | null {
  if (typeof cell !== "string" || !cell.trimStart().startsWith("{")) return null;
  const value = parsedJson(cell);
  return isObject(value) && !isTooDeep(value) ? value : null;
}

const isTurn = (value: unknown): boolean =>
  isObject(value) && (("role" in value && "content" in value) || ("from" in value && "value" in value));
