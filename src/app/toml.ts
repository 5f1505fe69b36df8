/** Files in TOML that a schema says the form of. What is wrong with one is told with the key's path, its line, and what was probably meant. */
import type { z } from "zod";
import { messageOf, UserError } from "../errors";
import { nearest } from "../text/nearest";
import { type Override, overrideOf } from "./overrides";
import { keysAt } from "./schema-path";

/** Where values come from. */
export interface Sources {
  readonly path?: string;
  readonly lines?: ReadonlyMap<string, number>;
  readonly overrides?: readonly Override[];
}

/** What was parsed, as the schema makes it whole. Throws a UserError with all that is wrong with it, and `hint`. */
export function checkedToml<T>(
  schema: z.ZodType<T>,
  raw: unknown,
  { path = "", lines = new Map(), overrides = [], hint }: Sources & { readonly hint: string },
): T {
  const result = schema.safeParse(raw);
  if (result.success) return result.data;
  const messages = result.error.issues
    .flatMap((issue) => explain(issue, schema, raw))
    .map(({ at, message }) => {
      const override = overrideOf(at, overrides);
      if (override) {
        const same = override.keys.join(".") === at.map(String).join(".");
        return `--set ${override.text}: ${same ? "" : `${pathText(at)}: `}${message}`;
      }
      const line = lineOf(lines, at);
      const place = path ? `${path}${line ? `:${line}` : ""}: ` : "";
      return `${place}${at.length ? `${pathText(at)}: ` : ""}${message}`;
    });
  throw new UserError(messages.join("\n       "), { hint, exitCode: 2 });
}

interface Problem {
  readonly at: readonly PropertyKey[];
  readonly message: string;
}

/** A kind that there is not: which there are, and which was probably meant. */
function kindProblem(path: readonly PropertyKey[], options: readonly unknown[], raw: unknown): string {
  const given = path.reduce<unknown>((node, key) => (node as Record<PropertyKey, unknown>)?.[key], raw);
  const kinds = options.map(String);
  const near = typeof given === "string" ? nearest(given, kinds) : undefined;
  return `expected ${kinds.slice(0, -1).join(", ")} or ${kinds.at(-1)}${near ? `; did you mean ${near}?` : ""}`;
}

function explain(issue: z.core.$ZodIssue, schema: z.ZodType, raw: unknown): Problem[] {
  if (issue.code === "invalid_union" && "options" in issue && issue.options)
    return [{ at: issue.path, message: kindProblem(issue.path, issue.options, raw) }];
  if (issue.code !== "unrecognized_keys")
    return [{ at: issue.path, message: issue.message.replace(/^Invalid input: /, "") }];
  const known = keysAt(schema, raw, issue.path);
  return issue.keys.map((key) => {
    const near = nearest(key, known);
    return { at: [...issue.path, key], message: `unknown key${near ? `; did you mean ${near}?` : ""}` };
  });
}

function pathText(path: readonly PropertyKey[]): string {
  return path.map((key, i) => (typeof key === "number" ? `[${key}]` : `${i ? "." : ""}${String(key)}`)).join("");
}

export function parseToml(text: string, path: string): Record<string, unknown> {
  try {
    return Bun.TOML.parse(text) as Record<string, unknown>;
  } catch (error) {
    throw new UserError(`${path} is not valid TOML: ${messageOf(error)}${firstBadLine(text, path)}`, { exitCode: 2 });
  }
}

/** The parser's own positions are unusable: the first line whose text before it parses and with it does not. */
function firstBadLine(text: string, path: string): string {
  const lines = text.split("\n");
  for (let count = 1; count <= lines.length; count++) {
    try {
      Bun.TOML.parse(lines.slice(0, count).join("\n"));
    } catch {
      const parsesLater = lines.slice(count).some((_, i) => parses(lines.slice(0, count + i + 1).join("\n")));
      if (!parsesLater) return ` (${path}:${count}: ${lines[count - 1]!.trim()})`;
    }
  }
  return "";
}

function parses(text: string): boolean {
  try {
    Bun.TOML.parse(text);
    return true;
  } catch {
    return false;
  }
}

/** Line numbers of keys and tables, by dotted path with array indices. Keys of inline tables are found by their table. */
export function linesOf(text: string): Map<string, number> {
  const lines = new Map<string, number>();
  const counts = new Map<string, number>();
  let table = "";
  text.split("\n").forEach((line, i) => {
    const many = line.match(/^\s*\[\[\s*([\w.-]+)\s*\]\]/)?.[1];
    const one = line.match(/^\s*\[\s*([\w.-]+)\s*\]/)?.[1];
    const key = line.match(/^\s*([\w-]+(?:\.[\w-]+)*)\s*=/)?.[1];
    if (many) {
      const count = counts.get(many) ?? 0;
      counts.set(many, count + 1);
      table = `${many}.${count}`;
    } else if (one) {
      const [first = "", ...rest] = one.split(".");
      const count = counts.get(first);
      table = [first, ...(count ? [String(count - 1)] : []), ...rest].join(".");
    }
    if (many || one) lines.set(table, i + 1);
    else if (key) lines.set(table ? `${table}.${key}` : key, i + 1);
  });
  return lines;
}

function lineOf(lines: ReadonlyMap<string, number>, path: readonly PropertyKey[]): number | undefined {
  for (let length = path.length; length > 0; length--) {
    const line = lines.get(path.slice(0, length).map(String).join("."));
    if (line) return line;
  }
  return undefined;
}
