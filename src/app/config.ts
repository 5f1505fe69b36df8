/** A pipeline's config: TOML, read with overrides, checked against the schemas, defaults filled in. */

import { z } from "zod";
import { codeOf, messageOf, UserError } from "../errors";
import { presets } from "../model/architectures";

import { stageSchema } from "../stages";
import { nearest } from "../text/nearest";
import { embeddedConfigs, findFile } from "./embedded";
import { modelConfig } from "./planned";

const size = (description: string, most: number) => z.int().min(1).max(most).optional().meta({ description });

export const modelSchema = z.strictObject({
  from: z.string().min(1).optional().meta({
    description:
      "a model to go on from, with its tokenizer: a run, a checkpoint, a directory, or a Hub name such as gpt2",
  }),
  preset: z
    .enum(Object.keys(presets) as [string, ...string[]])
    .default("micro")
    .meta({ description: "a named size; the numbers below override it" }),
  layers: size("transformer blocks", 1024),
  heads: size("attention heads", 1024),
  width: size("channels of the residual stream; a multiple of 4 times the heads", 1 << 16),
  context: z
    .int()
    .min(2)
    .max(1 << 20)
    .optional()
    .meta({ description: "the longest sequence in tokens" }),
  epsilon: z.number().gt(0).default(1e-5).meta({ description: "layer norm's epsilon" }),
});

export const tokenizerSchema = z.discriminatedUnion("kind", [
  z.strictObject({
    kind: z.literal("bpe").meta({ description: "byte-level BPE trained on the first stage's text" }),
    size: z.int().min(257).max(1_000_000).default(4096).meta({ description: "tokens of the vocabulary" }),
  }),
  z.strictObject({
    kind: z.literal("word").meta({ description: "the most frequent words of the first stage's text, cleaned" }),
    size: z.int().min(3).max(1_000_000).default(8192).meta({ description: "tokens of the vocabulary" }),
  }),
  z.strictObject({
    kind: z.literal("character").meta({ description: "one token a character of the first stage's text" }),
  }),
  z.strictObject({
    kind: z.literal("file").meta({ description: "an existing tokenizer" }),
    path: z.string().meta({ description: "a folder with tokenizer.json" }),
  }),
]);

/** Folder of a run for the model that it goes on from, where that was an adapter. */
export const MERGED_BASE = "base";

const folders = ["tokenizer", MERGED_BASE];

/** Stages of one name would share a folder, and the second would be found finished. */
function expectOwnNames(stages: readonly { readonly name: string }[], context: z.RefinementCtx): void {
  stages.forEach(({ name }, i) => {
    if (folders.includes(name)) {
      const message = `every run has a folder of the name ${name}; choose another`;
      context.addIssue({ code: "custom", path: [i, "name"], message });
    }
    if (stages.findIndex((stage) => stage.name === name) === i) return;
    context.addIssue({
      code: "custom",
      path: [i, "name"],
      message: `another stage is named ${name} too; give each its own name`,
    });
  });
}

export const configSchema = z.strictObject({
  name: z
    .string()
    .regex(/^[\w.-]+$/)
    .default("run")
    .meta({ description: "the run's folder under runs/" }),
  seed: z.int().min(0).max(0xffff_ffff).default(1337).meta({ description: "every random choice is a function of it" }),
  model: modelSchema.prefault({}),
  tokenizer: tokenizerSchema.prefault({ kind: "bpe" }),
  stage: z.array(stageSchema).min(1).superRefine(expectOwnNames).meta({ description: "what to do, in order" }),
  generate: z
    .strictObject({
      prompts: z.array(z.string().min(1)).min(1).meta({ description: "continued once all stages are done" }),
      tokens: z.int().min(1).default(120).meta({ description: "tokens of each" }),
      temperature: z.number().min(0).max(100).default(0.8).meta({ description: "0 takes the likeliest token" }),
    })
    .optional(),
});

export type Config = z.infer<typeof configSchema>;

/** Reads a config file, on disk or embedded, with `--set` overrides such as `stage.0.optim.lr=1e-4`. */
export async function readConfigFile(path: string, overrides: readonly string[] = []): Promise<Config> {
  const file = findFile(path);
  let text: string;
  try {
    text = await Bun.file(file).text();
  } catch (error) {
    const why = codeOf(error) === "ENOENT" ? "there is no such file" : messageOf(error);
    throw new UserError(`the config ${path} cannot be read: ${why}`, {
      hint: `inside the program are ${embeddedConfigs.join(", ")}`,
      exitCode: 2,
    });
  }
  const raw = parseToml(text, path);
  for (const override of overrides) applyOverride(raw, override);
  return checkConfig(raw, { path, lines: linesOf(text) });
}

/** Checks a parsed config. Errors name the key's path and, where known, its line. */
export function checkConfig(
  raw: unknown,
  { path = "", lines = new Map() }: { path?: string; lines?: ReadonlyMap<string, number> } = {},
): Config {
  const result = configSchema.safeParse(raw);
  if (result.success) {
    expectOneSource(raw as Raw);
    modelConfig(result.data.model, 1);
    return result.data;
  }
  const messages = result.error.issues.flatMap(explain).map(({ at, message }) => {
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

/** A model that is loaded has its sizes and its tokenizer already. */
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

function explain(issue: z.core.$ZodIssue): Problem[] {
  if (issue.code !== "unrecognized_keys")
    return [{ at: issue.path, message: issue.message.replace(/^Invalid input: /, "") }];
  const known = keysAt(issue.path);
  return issue.keys.map((key) => {
    const near = nearest(key, known);
    return { at: [...issue.path, key], message: `unknown key${near ? `; did you mean ${near}?` : ""}` };
  });
}

/** The keys that the schema knows at a path, for suggestions. */
function keysAt(path: readonly PropertyKey[]): string[] {
  let node = z.toJSONSchema(configSchema, { io: "input", unrepresentable: "any" }) as JsonSchema;
  for (const key of path) {
    const options = [node, ...(node.anyOf ?? []), ...(node.oneOf ?? [])];
    const next =
      typeof key === "number" ? options.map((o) => o.items) : options.map((o) => o.properties?.[String(key)]);
    node = next.find((option) => option !== undefined) ?? {};
  }
  return [node, ...(node.anyOf ?? []), ...(node.oneOf ?? [])].flatMap((option) => Object.keys(option.properties ?? {}));
}

interface JsonSchema {
  readonly properties?: Readonly<Record<string, JsonSchema>>;
  readonly items?: JsonSchema;
  readonly anyOf?: readonly JsonSchema[];
  readonly oneOf?: readonly JsonSchema[];
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

/** Sets one value, written as TOML; a bare word is taken as a string. */
export function applyOverride(raw: Record<string, unknown>, override: string): void {
  const at = override.indexOf("=");
  if (at <= 0)
    throw new UserError(`--set ${override} has no value`, {
      hint: "write it as --set stage.0.optim.lr=1e-4",
      exitCode: 2,
    });
  const keys = override.slice(0, at).trim().split(".");
  const text = override.slice(at + 1).trim();
  const value: unknown = parses(`v = ${text}`) ? (Bun.TOML.parse(`v = ${text}`) as { v: unknown }).v : text;
  let node: Record<string, unknown> = raw;
  for (const key of keys.slice(0, -1)) {
    const next = node[key] ?? {};
    if (typeof next !== "object" || next === null)
      throw new UserError(`--set ${override}: ${key} is not a table`, { exitCode: 2 });
    node[key] = next;
    node = next as Record<string, unknown>;
  }
  node[keys.at(-1)!] = value;
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
