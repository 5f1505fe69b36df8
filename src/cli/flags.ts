/** Flags made from the schemas of configs: each stands for a key, and has its type, its sentence and its default from there. */
import type { ArgDef } from "citty";
import { z } from "zod";
import { memberOf } from "../app/schema-path";
import { UserError } from "../errors";
import { all, numberOf } from "./options";
import type { More } from "./words";

/** The key that a flag stands for, such as `optim.lr`, and more where there is more to say. */
export type Target =
  | string
  | {
      readonly path: string;
      /** A flag without which this one counts for nothing. */
      readonly needs?: string;
      /** Takes any text for a choice, where there are many: they stand in its sentence, and the schema's check refuses others. */
      readonly open?: boolean;
      /** Its sentence, where the schema's speaks of the config around it. */
      readonly says?: string;
    };

type Args = Readonly<Record<string, unknown>>;

export interface Flags<Name extends string, Value> {
  /** For citty. */
  readonly args: { readonly [N in Name]: ArgDef & More };
  /** What was given, and the command's own defaults, as a part of a config that is to be checked. */
  collect(args: Args, rawArgs: readonly string[]): Record<string, unknown>;
  /** The same as the schema makes it whole. What it refuses is told by the flag's name. */
  parse(args: Args, rawArgs: readonly string[]): Value;
}

/** Flags for keys of `schema`. `own`: defaults of the command that are not the schema's. */
export function flagsOf<const T extends Readonly<Record<string, Target>>, Value>(
  schema: z.ZodType<Value>,
  table: T,
  own?: Readonly<Partial<Record<keyof T & string, number | string>>>,
): Flags<keyof T & string, Value> {
  const flags = Object.entries(table).map(([name, target]): Flag => {
    const given = typeof target === "string" ? { path: target } : target;
    const field = fieldOf(schemaAt(schema, given.path));
    return { ...given, name, field, kind: kindOf(field.inner), own: own?.[name as keyof T & string] };
  });
  const collect = (args: Args, rawArgs: readonly string[]) => {
    const raw: Record<string, unknown> = {};
    for (const flag of flags) {
      if (flag.needs !== undefined && args[flag.needs] !== true) continue;
      const value = taken(flag, args[flag.name], all(rawArgs, flag.name));
      if (value !== undefined) put(raw, flag.path.split("."), value);
    }
    return raw;
  };
  return {
    args: Object.fromEntries(flags.map((flag) => [flag.name, argOf(flag)])) as Flags<keyof T & string, Value>["args"],
    collect,
    parse(args, rawArgs) {
      const result = schema.safeParse(collect(args, rawArgs));
      if (result.success) return result.data;
      const { path, message } = result.error.issues[0]!;
      const name = flags.find((flag) => flag.path === path.join("."))?.name;
      throw new UserError(`${name ? `--${name}` : path.join(".")}: ${message}`, {
        hint: "--help lists the options",
        exitCode: 2,
      });
    },
  };
}

interface Flag {
  readonly name: string;
  readonly path: string;
  readonly needs?: string;
  readonly open?: boolean;
  readonly says?: string;
  readonly field: Field;
  readonly kind: Kind;
  readonly own: number | string | undefined;
}

/** What a key's schema says, without what is wrapped around it. */
interface Field {
  readonly inner: z.ZodType;
  readonly description: string;
  readonly optional: boolean;
  readonly fallback: unknown;
}

function fieldOf(schema: z.ZodType): Field {
  const description = schema.meta()?.description;
  const within = (inner: unknown) => {
    const field = fieldOf(inner as z.ZodType);
    return { ...field, description: description ?? field.description };
  };
  if (schema instanceof z.ZodDefault) return { ...within(schema.unwrap()), fallback: schema.def.defaultValue };
  if (schema instanceof z.ZodPrefault) return within(schema.unwrap());
  if (schema instanceof z.ZodOptional) return { ...within(schema.unwrap()), optional: true };
  return { inner: schema, description: description ?? "", optional: false, fallback: undefined };
}

/** The schema of a key; of a union, that of the first kind which has it. */
function schemaAt(schema: z.ZodType, path: string): z.ZodType {
  const found = path
    .split(".")
    .reduce<z.ZodType | undefined>((node, key) => node && memberOf(node, key, undefined), schema);
  if (!found) throw new Error(`the schema has no key ${path}`);
  return found;
}

/** How a flag's words become a value. A `group` is an object of the config that is there, or is not. */
type Kind = "number" | "text" | "switch" | "choice" | "group" | "list" | "numbers" | "one or more" | "number or text";

function kindOf(schema: z.ZodType): Kind {
  if (schema instanceof z.ZodNumber) return "number";
  if (schema instanceof z.ZodBoolean) return "switch";
  if (schema instanceof z.ZodEnum) return "choice";
  if (schema instanceof z.ZodObject) return "group";
  if (schema instanceof z.ZodArray) return schema.element instanceof z.ZodNumber ? "numbers" : "list";
  if (schema instanceof z.ZodString) return "text";
  const kinds = schema instanceof z.ZodUnion ? schema.options.map((option) => kindOf(option as z.ZodType)) : [];
  if (kinds.includes("list")) return "one or more";
  if (kinds.includes("number")) return "number or text";
  throw new Error(`no flag can stand for a ${schema.def.type}`);
}

const repeated = (kind: Kind) => ["list", "numbers", "one or more"].includes(kind);

function argOf({ kind, field, needs, open, says, own }: Flag): ArgDef & More {
  const { inner, optional, fallback } = field;
  const choices = inner instanceof z.ZodEnum ? inner.options.map(String) : [];
  const sentence = says ?? (open ? `${field.description}: ${choices.join(", ")}` : field.description);
  const description = `${needs ? `with --${needs}: ` : ""}${sentence}${repeated(kind) ? "; may be repeated" : ""}`;
  const more: More = { ...(needs && { needs: [needs] }), ...(repeated(kind) && { repeated: true }) };
  if (kind === "switch" || kind === "group") return { type: "boolean", description, ...more };
  const known = own ?? fallback;
  const shown = known === undefined || repeated(kind) ? {} : { default: String(known) };
  const required = { required: known === undefined && !optional };
  if (kind === "choice" && !open)
    return { type: "enum", options: choices, description, ...shown, ...required, ...more };
  return { type: "string", description, ...shown, ...required, ...more };
}

/** Undefined where nothing was given: the schema has its own default then. */
function taken({ name, kind, field, own }: Flag, given: unknown, all: readonly string[]): unknown {
  switch (kind) {
    case "group":
      return given === true ? {} : undefined;
    case "switch":
      return given;
    case "list":
      return all.length ? all : undefined;
    case "numbers":
      return all.length ? all.map((text) => numberOf(name, text)) : undefined;
    case "one or more":
      return all.length > 1 ? all : all[0];
    case "number":
    case "number or text":
    case "choice":
    case "text": {
      const text = given as string | undefined;
      if (text === undefined || (own === undefined && text === String(field.fallback))) return undefined;
      if (kind === "number") return numberOf(name, text);
      return kind === "number or text" && !Number.isNaN(Number(text)) ? Number(text) : text;
    }
    default:
      throw new Error(`a flag of kind ${kind satisfies never}`);
  }
}

function put(raw: Record<string, unknown>, path: readonly string[], value: unknown): void {
  let node = raw;
  for (const key of path.slice(0, -1)) {
    node[key] ??= {};
    node = node[key] as Record<string, unknown>;
  }
  node[path.at(-1)!] = value;
}
