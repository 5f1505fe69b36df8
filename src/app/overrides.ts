/** `--set stage.0.optim.lr=1e-4`: values put into a parsed config, each on a key that the schema has. */
import { z } from "zod";
import { UserError } from "../errors";
import { nearest } from "../text/nearest";
import { configSchema } from "./config";
import { formsOf, keysOf, memberOf } from "./schema-path";

export interface Override {
  /** As it was given. */
  readonly text: string;
  readonly keys: readonly string[];
  /** How many of the keys were there before: the rest stands for what the override has made. */
  readonly found: number;
}

/** Sets the values in `raw`, each written as TOML; a bare word is taken as a string. Throws a UserError where one lands on no key. */
export function applyOverrides(raw: Record<string, unknown>, texts: readonly string[]): Override[] {
  const overrides = texts.map((text) => put(raw, text));
  for (const [i, { text, keys }] of overrides.entries()) {
    // A stage's kind may have been set by a later one.
    expectKey(raw, { text, keys });
    const twice = overrides.slice(0, i).find((other) => other.keys.join(".") === keys.join("."));
    if (twice) throw refused(twice.text, `--set ${text} sets the same key`, "leave one of them out");
  }
  return overrides;
}

/** The override that what stands at a path comes from. */
export function overrideOf(path: readonly PropertyKey[], overrides: readonly Override[]): Override | undefined {
  const words = path.map(String);
  const shared = (keys: readonly string[]) => keys.every((key, i) => i >= words.length || key === words[i]);
  return overrides.findLast(
    ({ keys, found }) => shared(keys) || (words.length > found && shared(keys.slice(0, found + 1))),
  );
}

function put(raw: Record<string, unknown>, text: string): Override {
  const at = text.indexOf("=");
  if (at <= 0)
    throw new UserError(`--set ${text} has no value`, { hint: "write it as --set stage.0.optim.lr=1e-4", exitCode: 2 });
  const keys = text.slice(0, at).trim().split(".");
  if (keys.some((key) => key === "" || key === "__proto__"))
    throw new UserError(`--set ${text} names no key of a config`, { exitCode: 2 });
  let node: object = raw;
  let schema: z.ZodType = configSchema;
  let found = keys.length;
  for (const [i, key] of keys.entries()) {
    if (Array.isArray(node)) expectIndex(node, { text, keys, at: i });
    const values = node as Record<string, unknown>;
    const below = memberOf(schema, key, node);
    if (i === keys.length - 1) {
      if (!Object.hasOwn(values, key)) found = Math.min(found, i);
      values[key] = readValue(text.slice(at + 1).trim());
      break;
    }
    if (!Object.hasOwn(values, key)) {
      found = Math.min(found, i);
      values[key] = emptyOf(below);
    }
    const next = values[key];
    if (typeof next !== "object" || next === null) throw refused(text, `${key} is not a table`);
    node = next;
    schema = below ?? z.unknown();
  }
  return { text, keys, found };
}

/** The number of an item: of a stage most often, and forgotten most often. */
function expectIndex(
  list: readonly unknown[],
  { text, keys, at }: { text: string; keys: readonly string[]; at: number },
) {
  const key = keys[at]!;
  if (/^(0|[1-9]\d*)$/.test(key) && Number(key) < list.length) return;
  const path = keys.slice(0, at).join(".");
  const items = list.map((item, i) => {
    const { name, kind } = (item ?? {}) as { readonly name?: unknown; readonly kind?: unknown };
    return typeof (name ?? kind) === "string" ? `${path}.${i} is ${name ?? kind}` : `${path}.${i}`;
  });
  const meant = /^-?\d/.test(key) ? keys.slice(at + 1) : keys.slice(at);
  const hint =
    list.length === 1 ? `did you mean ${[path, "0", ...meant].join(".")}?` : `it has ${items.join(", ") || "none"}`;
  throw refused(text, `${path} is a list, and ${key} is no item of it`, hint);
}

function readValue(text: string): unknown {
  try {
    const { v, ...more } = Bun.TOML.parse(`v = ${text}`) as { readonly v: unknown };
    return Object.keys(more).length ? text : v;
  } catch {
    return text;
  }
}

function expectKey(raw: object, { text, keys }: Pick<Override, "text" | "keys">): void {
  let schema: z.ZodType = configSchema;
  let node: unknown = raw;
  for (const [i, key] of keys.entries()) {
    const below = memberOf(schema, key, node);
    if (below === undefined) {
      const known = keysOf(schema, node);
      const near = nearest(key, known);
      const kind = (node as { readonly kind?: unknown } | null)?.kind;
      const table = [keys.slice(0, i).join("."), typeof kind === "string" ? `(${kind})` : ""].filter(Boolean).join(" ");
      const hint = near ? `did you mean ${[...keys.slice(0, i), near].join(".")}?` : `it has ${known.join(", ")}`;
      if (known.length === 0) throw refused(text, `${table} is not a table`);
      throw refused(text, `${table || "a config"} has no key ${key}`, hint);
    }
    schema = below;
    node = (node as Record<string, unknown> | null)?.[key];
  }
}

function refused(text: string, why: string, hint = "docs/config.md lists every key"): UserError {
  return new UserError(`--set ${text}: ${why}`, { hint, exitCode: 2 });
}

/** A table as it is where nothing was said. */
function emptyOf(schema: z.ZodType | undefined): object {
  if (schema instanceof z.ZodPrefault) return structuredClone(schema.def.defaultValue) as object;
  return formsOf(schema ?? z.unknown(), null)[0] instanceof z.ZodArray ? [] : {};
}
