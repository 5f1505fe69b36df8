/** Reads a pipeline's config: TOML, with overrides, checked against the schemas, defaults filled in. Errors name keys and lines. */
import type { z } from "zod";
import { spooled } from "../data/spool";
import { messageOf, UserError } from "../errors";
import { readTextFile } from "../files";
import { modelConfig } from "../stages/model-settings";
import { nearest } from "../text/nearest";
import { besideFile, besideOf } from "./beside";
import { type Config, configSchema } from "./config";
import { embeddedConfigs, findFile } from "./embedded";
import { NEW } from "./graph";
import { applyOverrides, type Override, overrideOf } from "./overrides";
import { keysAt } from "./schema-path";

/** Reads a config file, on disk or embedded, with `--set` overrides such as `stage.0.optim.lr=1e-4`. */
export async function readConfigFile(path: string, overrides: readonly string[] = []): Promise<Config> {
  const file = findFile(path);
  const hint = `inside the program are ${embeddedConfigs.join(", ")}`;
  const text = readTextFile(await spooled(file), `the config ${path}`, { hint, exitCode: 2 });
  const raw = parseToml(text, path);
  const set = applyOverrides(raw, overrides);
  const config = checkConfig(raw, { path, lines: linesOf(text), overrides: set });
  const folder = besideOf(path);
  return folder === undefined ? config : besideFile(config, folder, set);
}

/** Where a config's values come from. */
interface Sources {
  readonly path?: string;
  readonly lines?: ReadonlyMap<string, number>;
  readonly overrides?: readonly Override[];
}

/** Checks a parsed config. Errors name the key's path and, where known, its line. */
export function checkConfig(raw: unknown, { path = "", lines = new Map(), overrides = [] }: Sources = {}): Config {
  const result = configSchema.safeParse(raw);
  if (result.success) {
    const { model, stage } = result.data;
    if (!stage.some((each) => "from" in each && each.from === NEW)) expectOneSource(raw as Raw);
    modelConfig(model, 1);
    for (const each of stage) if ("model" in each && each.model) modelConfig(each.model, 1, `${each.name}.model`);
    return result.data;
  }
  const messages = result.error.issues
    .flatMap((issue) => explain(issue, raw))
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
  throw new UserError(messages.join("\n       "), { hint: "docs/config.md lists every key", exitCode: 2 });
}

interface Raw {
  readonly model?: Readonly<Record<string, unknown>>;
  readonly tokenizer?: unknown;
}

/** A model that is loaded has its sizes and its tokenizer already, and no stage begins with another. */
function expectOneSource({ model = {}, tokenizer }: Raw): void {
  if (model.from === undefined) return;
  const more = [
    ...Object.keys(model)
      .filter((key) => key !== "from")
      .map((key) => `model.${key}`),
    ...(tokenizer ? ["tokenizer"] : []),
  ];
  if (more.length === 0) return;
  throw new UserError(
    `model.from brings a model's own sizes and tokenizer, and the config has ${more.join(", ")} too`,
    {
      hint: `leave out ${more.length === 1 ? "that" : "those"}, or model.from`,
      exitCode: 2,
    },
  );
}

interface Problem {
  readonly at: readonly PropertyKey[];
  readonly message: string;
}

function explain(issue: z.core.$ZodIssue, raw: unknown): Problem[] {
  if (issue.code !== "unrecognized_keys")
    return [{ at: issue.path, message: issue.message.replace(/^Invalid input: /, "") }];
  const known = keysAt(configSchema, raw, issue.path);
  return issue.keys.map((key) => {
    const near = nearest(key, known);
    return { at: [...issue.path, key], message: `unknown key${near ? `; did you mean ${near}?` : ""}` };
  });
}

function pathText(path: readonly PropertyKey[]): string {
  return path.map((key, i) => (typeof key === "number" ? `[${key}]` : `${i ? "." : ""}${String(key)}`)).join("");
}

function parseToml(text: string, path: string): Record<string, unknown> {
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
function linesOf(text: string): Map<string, number> {
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
