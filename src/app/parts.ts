/**
 * What a result depends on, by name: `kind`, `seed`, `setting optim.lr`, `data 1: a.txt`, `reads from: pretrain`. Equal parts, equal
 * result. What stands behind a colon is for people: files and models are known by what is in them, wherever they lie.
 */
import { z } from "zod";

export type Parts = Readonly<Record<string, string>>;

export function keyOf(parts: Parts): string {
  const sorted = [...byRole(parts)]
    .map(([role, { value }]) => [role, value] as const)
    .sort(([a], [b]) => (a < b ? -1 : 1));
  return new Bun.CryptoHasher("sha256").update(JSON.stringify(sorted)).digest("hex");
}

/** The first part that is another, in words: `optim.lr was 0.001 and is 0.002`. Null where all are the same. */
export function difference(before: Parts, now: Parts, defaults: Parts = {}): string | null {
  if (Object.keys(before).length === 0) return "what it was made from is not known";
  for (const [role, { was, is }] of changes(before, now, defaults))
    return inWords((byRole(now).get(role) ?? byRole(before).get(role))!.name, was, is);
  return null;
}

/** What is another, by its role: `setting optim.steps`, `data 1`. */
export function changes(
  before: Parts,
  now: Parts,
  defaults: Parts = {},
): ReadonlyMap<string, { readonly was: string | undefined; readonly is: string | undefined }> {
  const [old, own] = [byRole(before), byRole(now)];
  const found = [...new Set([...old.keys(), ...own.keys()])].map((role) => ({
    role,
    was: old.get(role)?.value ?? defaults[role],
    is: own.get(role)?.value ?? defaults[role],
  }));
  return new Map(found.filter(({ was, is }) => was !== is).map(({ role, was, is }) => [role, { was, is }]));
}

function byRole(parts: Parts): ReadonlyMap<string, { readonly name: string; readonly value: string }> {
  return new Map(
    Object.entries(parts).map(([name, value]) => [name.replace(/^(data|reads) (.*?): .*$/s, "$1 $2"), { name, value }]),
  );
}

function inWords(name: string, was: string | undefined, is: string | undefined): string {
  const [, what = "", which = ""] = /^(\w+) ?(?:(?<=^(?:data|reads) ).*?: )?(.*)$/s.exec(name) ?? [];
  switch (what) {
    case "data":
      if (was === undefined) return `${which} is new`;
      return is === undefined ? `${which} is no longer read` : `${which} has changed`;
    case "reads":
      if (was === undefined) return `it reads ${which}`;
      return is === undefined ? `it reads ${which} no longer` : `${which} has another result`;
    default:
      if (is === GIVEN) return `${which} is new`;
      if (was === GIVEN) return `${which} is no longer given`;
      return `${which || what} was ${was ?? "not given"} and is ${is ?? "not given"}`;
  }
}

/** That a table is there which need not be. */
const GIVEN = "given";

export const A_FILE = "a file";

/**
 * The settings that can change a result, each by its dotted name. Left out are those that cannot, which the schema's meta calls
 * `neutral`, and those that are as the schema has them by default: so a schema may grow, and nothing that was made before is stale.
 * A setting that is the path of one of `files` only says that there is one.
 */
export function settingParts(
  config: object,
  schema: z.ZodType,
  files: readonly string[] = [],
  models: readonly string[] = [],
): Parts {
  const found: Record<string, string> = {};
  const walk = (value: unknown, node: JsonSchema, path: string, needed: boolean) => {
    if (node.neutral || value === undefined) return;
    if (typeof value === "object" && value !== null && !Array.isArray(value)) {
      if (!needed && node.default === undefined) found[`setting ${path}`] = GIVEN;
      for (const [key, below] of Object.entries(value))
        walk(below, node.properties?.[key] ?? {}, path ? `${path}.${key}` : key, node.required?.includes(key) ?? false);
      return;
    }
    if (Array.isArray(value) && node.items?.oneOf) {
      for (const [i, item] of value.entries()) walk(item, formOf(item, node.items), `${path}.${i + 1}`, true);
      return;
    }
    const text = files.includes(value as string) ? A_FILE : JSON.stringify(node.named ? unnamed(value) : value);
    if (text !== JSON.stringify(node.default)) found[`setting ${path}`] = text;
  };
  walk(config, jsonSchema(schema), "", true);
  return found;

  /** A text, or a list of such, that may name files, with a function of theirs behind a #, and models: all count by their contents. */
  function unnamed(given: unknown): unknown {
    const one = (name: string) => {
      const [path = "", ...rest] = name.split("#");
      if (models.includes(name)) return A_FILE;
      return files.includes(path) ? [A_FILE, ...rest].join("#") : name;
    };
    return Array.isArray(given) ? given.map(one) : one(given as string);
  }
}

/** What the settings are that `settingParts` leaves out, for telling what they were. */
export function defaultParts(schema: z.ZodType): Parts {
  const found: Record<string, string> = {};
  const walk = ({ properties, default: value }: JsonSchema, path: string) => {
    if (properties) for (const [key, below] of Object.entries(properties)) walk(below, path ? `${path}.${key}` : key);
    else if (value !== undefined) found[`setting ${path}`] = JSON.stringify(value);
  };
  walk(jsonSchema(schema), "");
  return found;
}

interface JsonSchema {
  readonly neutral?: boolean;
  readonly named?: boolean;
  readonly default?: unknown;
  readonly required?: readonly string[];
  readonly properties?: Readonly<Record<string, JsonSchema>>;
  readonly items?: JsonSchema;
  readonly oneOf?: readonly JsonSchema[];
  readonly const?: unknown;
}

/** Of several forms of a table, the one of its kind. */
function formOf(item: unknown, { oneOf = [] }: JsonSchema): JsonSchema {
  const { kind } = item as { readonly kind?: unknown };
  return oneOf.find(({ properties }) => properties?.kind?.const === kind) ?? {};
}

function jsonSchema(schema: z.ZodType): JsonSchema {
  return z.toJSONSchema(schema, { io: "input", unrepresentable: "any" }) as JsonSchema;
}
