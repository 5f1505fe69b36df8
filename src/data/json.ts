/** Rows of JSON: an object a line, a list, objects one behind another over any number of lines. */
import { type Node, type ParseError, parse as parseJson, parseTree, printParseErrorCode } from "jsonc-parser";
import { messageOf, UserError } from "../errors";
import type { BadRow, Row, Rows } from "./row";

/** Levels that a value may be nested. What reads it further on goes down by recursion. */
export const MOST_LEVELS = 1000;

export const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

interface Value {
  readonly value: unknown;
  readonly where: string;
  /** A name that one of its objects has twice: JSON.parse keeps the last value, and says nothing. */
  readonly twice?: string | undefined;
}

/** A name that an object in this text has twice, where its value is that of the text. */
function nameTwice(text: string, value: unknown): string | undefined {
  if (isTooDeep(value)) return undefined;
  const names = namesIn(value);
  // Every name brings one, if nothing stands between, and so may texts.
  if (countOf('":', text) === names && !/"\s+:/.test(text)) return undefined;
  const written = text.matchAll(/"(?:[^"\\]|\\.)*"(\s*:)?/g).filter(([, colon]) => colon);
  return written.reduce((count) => count + 1, 0) === names ? undefined : firstTwice(parseTree(text));
}

function countOf(part: string, text: string): number {
  let count = 0;
  for (let at = text.indexOf(part); at >= 0; at = text.indexOf(part, at + part.length)) count++;
  return count;
}

function namesIn(value: unknown): number {
  if (typeof value !== "object" || value === null) return 0;
  const inner = Object.values(value).reduce((sum: number, one) => sum + namesIn(one), 0);
  return Array.isArray(value) ? inner : inner + Object.keys(value).length;
}

function firstTwice(node: Node | undefined): string | undefined {
  const names = new Set<unknown>();
  for (const child of node?.children ?? []) {
    const name: unknown = node!.type === "object" ? child.children?.[0]?.value : undefined;
    if (name !== undefined && names.has(name)) return String(name);
    names.add(name);
    const inner = firstTwice(child);
    if (inner !== undefined) return inner;
  }
  return undefined;
}

/** A file is read as lines where its first line is a value of its own, else as a whole. */
export function readJsonRows(text: string, path: string): Rows {
  const lines = text.split(/\r\n|\n|\r/);
  const first = lines.findIndex((line) => line.trim() !== "");
  const alone = parsedJson(lines[first]!) !== undefined;
  if (!alone) {
    const whole = parsedJson(text);
    if (whole !== undefined)
      return rowsOfOne({ value: whole, where: `${path}:${first + 1}`, twice: nameTwice(text, whole) }, path);
  }
  const { values, bad } = valuesOfLines(lines, path);
  if (bad.length === 0) return values.length === 1 ? rowsOfOne(values[0]!, path) : rowsOf(values);
  const following = oneBehindAnother(text, path);
  if (following) return rowsOf(following);
  // Where most lines are no values, the file was never one of lines, and those that are were never records.
  if (bad.length > values.length) throw brokenJson(text, path);
  return rowsOf(values, bad);
}

/** A value of parsed JSON; undefined where the text is none. */
export function parsedJson(text: string): unknown {
  try {
    return JSON.parse(text.trim());
  } catch {
    return undefined;
  }
}

/** Whether a value is nested deeper than anything that a person would write. */
export function isTooDeep(value: unknown, levels = MOST_LEVELS): boolean {
  if (typeof value !== "object" || value === null) return false;
  return levels === 0 || Object.values(value).some((inner) => isTooDeep(inner, levels - 1));
}

/** What a value is, for telling what was found: `a list of 3`, `text`. */
export function kindOfValue(value: unknown): string {
  if (Array.isArray(value)) return `a list of ${value.length}`;
  if (isObject(value)) return "an object";
  return typeof value === "string" ? "text" : String(value);
}

/** A list that is the whole file is a list of records. */
function rowsOfOne(one: Value, path: string): Rows {
  if (!Array.isArray(one.value)) return rowsOf([one]);
  if (one.twice !== undefined)
    throw new UserError(`${path} has an object with the field ${JSON.stringify(one.twice)} twice`, {
      hint: "of two values only the last would be read: rename one, or leave it out",
    });
  return rowsOf(listed(one.value, path));
}

/** The records of a list. */
export function listed(values: readonly unknown[], path: string): Value[] {
  return values.map((value, i) => ({ value, where: `${path}, record ${i + 1}` }));
}

export function rowsOf(values: readonly Value[], broken: readonly BadRow[] = []): Rows {
  const rows: Row[] = [];
  const bad = [...broken];
  for (const { value, where, twice } of values) {
    if (twice !== undefined) bad.push({ where, problem: `it has the field ${JSON.stringify(twice)} twice` });
    else if (!isObject(value)) bad.push({ where, problem: `expected an object, got ${kindOfValue(value)}` });
    else if (isTooDeep(value)) bad.push({ where, problem: `it is nested more than ${MOST_LEVELS} levels deep` });
    else rows.push({ fields: value, where });
  }
  return { rows, bad };
}

function valuesOfLines(lines: readonly string[], path: string) {
  const values: Value[] = [];
  const bad: BadRow[] = [];
  for (const [i, line] of lines.entries()) {
    const trimmed = line.trim();
    if (trimmed === "") continue;
    const where = `${path}:${i + 1}`;
    try {
      const value: unknown = JSON.parse(trimmed);
      values.push({ value, where, twice: nameTwice(trimmed, value) });
    } catch (error) {
      bad.push({ where, problem: `broken JSON: ${messageOf(error).replace(/^JSON Parse error: /, "")}` });
    }
  }
  return { values, bad };
}

/** Objects and lists with nothing but white space between them; null where that is not what the text is. */
function oneBehindAnother(text: string, path: string): Value[] | null {
  const values: Value[] = [];
  let line = 1;
  let depth = 0;
  let quoted = false;
  let start = 0;
  for (let at = 0; at < text.length; at++) {
    const character = text[at]!;
    if (quoted) {
      if (character === "\\") at++;
      else if (character === '"') quoted = false;
      continue;
    }
    if (depth === 0) {
      if (character.trim() === "") {
        if (character === "\n") line++;
        continue;
      }
      if (character !== "{" && character !== "[") return null;
      start = at;
    }
    if (character === '"') quoted = true;
    else if (character === "{" || character === "[") depth++;
    else if (character === "}" || character === "]") depth--;
    if (depth > 0) continue;
    const whole = text.slice(start, at + 1);
    const value = parsedJson(whole);
    if (value === undefined) return null;
    values.push({ value, where: `${path}:${line}`, twice: nameTwice(whole, value) });
    line += whole.split("\n").length - 1;
  }
  return depth === 0 && !quoted ? values : null;
}

/** JSON.parse does not say where: a parser that does is asked. */
function brokenJson(text: string, path: string): UserError {
  const hint = "a file of one object a line has the ending .jsonl";
  const errors: ParseError[] = [];
  try {
    parseJson(text, errors, { disallowComments: true });
  } catch {
    return new UserError(`${path}: broken JSON, nested too deeply to say where`, { hint });
  }
  const [first] = errors;
  const before = text.slice(0, first?.offset ?? text.length);
  const line = before.split("\n").length;
  const what = first
    ? printParseErrorCode(first.error)
        .replace(/([a-z])([A-Z])/g, "$1 $2")
        .toLowerCase()
    : "it ends early";
  const found = JSON.stringify(text.slice(before.length, before.length + 20));
  return new UserError(`${path}:${line}: broken JSON: ${what}, at ${found}`, { hint });
}
