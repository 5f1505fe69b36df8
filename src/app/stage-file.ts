/**
 * stage.json: what a stage was made from, and whether it is finished. A stage whose parts are the same need not be made again, and one
 * whose parts changed can say which.
 */
import { existsSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { readJson, unreadable, writeTextAside } from "../files";
import { STAGE_FILE } from "../train/run-folder";

/** A file's contents by their hash, which is looked up as long as size and time are the same. */
const seenSchema = z.record(z.string(), z.object({ size: z.number(), mtimeMs: z.number(), hash: z.string() }));
export type Seen = z.infer<typeof seenSchema>;

const schema = z.object({
  state: z.enum(["begun", "finished"]),
  key: z.string(),
  /** What the key was made of, by name: `kind`, `seed`, `setting optim.lr`, `data a.txt`, `from pretrain`. */
  parts: z.record(z.string(), z.string()),
  seen: seenSchema.default({}),
  /** Of the result's files. */
  output: z.string().optional(),
});

export type StageFile = z.infer<typeof schema>;
export type Parts = StageFile["parts"];

export function readStageFile(folder: string): StageFile | null {
  const path = join(folder, STAGE_FILE);
  if (!existsSync(path)) return null;
  return readJson(path, schema, `remove it to have the stage in ${folder} taken for one of an older version`);
}

export function writeStageFile(folder: string, file: StageFile): void {
  writeTextAside(join(folder, STAGE_FILE), `${JSON.stringify(file, null, 2)}\n`);
}

export function keyOf(parts: Parts): string {
  const sorted = Object.entries(parts).sort(([a], [b]) => (a < b ? -1 : 1));
  return new Bun.CryptoHasher("sha256").update(JSON.stringify(sorted)).digest("hex");
}

/** In words, the first part that is another: `optim.lr was 0.001 and is 0.002`. Null where all are the same. */
export function difference(before: Parts, now: Parts): string | null {
  for (const name of new Set([...Object.keys(before), ...Object.keys(now)])) {
    const [was, is] = [before[name], now[name]];
    if (was === is) continue;
    const [what = "", ...rest] = name.split(" ");
    const which = rest.join(" ");
    if (what === "setting") return `${which} was ${was ?? "not given"} and is ${is ?? "not given"}`;
    if (what === "data")
      return was === undefined
        ? `${which} is new`
        : is === undefined
          ? `${which} is no longer read`
          : `${which} has changed`;
    if (what === "reads")
      return was !== undefined && is !== undefined
        ? `${which} has another result`
        : `it reads ${which}${is === undefined ? " no longer" : ""}`;
    return `${what} was ${was ?? "not given"} and is ${is ?? "not given"}`;
  }
  return null;
}

/** The settings that can change a result, each by its dotted name. `neutral`: names of those that cannot, with all below them. */
export function settingsOf(config: unknown, neutral: ReadonlySet<string>, path = ""): Parts {
  if (path !== "" && neutral.has(path)) return {};
  if (typeof config !== "object" || config === null || Array.isArray(config))
    return config === undefined ? {} : { [`setting ${path}`]: JSON.stringify(config) };
  return Object.assign(
    {},
    ...Object.entries(config).map(([key, value]) => settingsOf(value, neutral, path ? `${path}.${key}` : key)),
  );
}

interface JsonSchema {
  readonly neutral?: boolean;
  readonly properties?: Readonly<Record<string, JsonSchema>>;
}

/** The keys that a schema's meta calls neutral. */
export function neutralKeys(schema: z.ZodType): ReadonlySet<string> {
  const found = new Set<string>();
  const walk = ({ neutral, properties = {} }: JsonSchema, path: string) => {
    if (neutral) found.add(path);
    for (const [key, below] of Object.entries(properties)) walk(below, path ? `${path}.${key}` : key);
  };
  walk(z.toJSONSchema(schema, { io: "input", unrepresentable: "any" }) as JsonSchema, "");
  return found;
}

/** Hashes files, and those of `known` only where their size or time is another. */
export function hasher(known: Seen) {
  const seen: Record<string, Seen[string]> = {};
  return {
    seen,
    async of(path: string): Promise<string> {
      const { size, mtimeMs } = statSync(path, { throwIfNoEntry: false }) ?? { size: -1, mtimeMs: 0 };
      const before = seen[path] ?? known[path];
      const same = before && size >= 0 && before.size === size && before.mtimeMs === mtimeMs;
      const hash = same ? before.hash : await contentHash(path);
      seen[path] = { size, mtimeMs, hash };
      return hash;
    },
    /** Of a model directory's weights, config and tokenizer. */
    async ofModel(directory: string): Promise<string> {
      const names = readdirSync(directory)
        .filter((name) => MODEL_FILES.test(name))
        .sort();
      const parts: string[] = [];
      for (const name of names) parts.push(name, await this.of(join(directory, name)));
      return new Bun.CryptoHasher("sha256").update(parts.join("\n")).digest("hex");
    },
  };
}

export type Hasher = ReturnType<typeof hasher>;

const MODEL_FILES =
  /(?<!^optimizer)\.safetensors$|^(config|adapter_config|tokenizer|tokenizer_config|vocab)\.json$|^merges\.txt$|\.jinja$/;

async function contentHash(path: string): Promise<string> {
  const hash = new Bun.CryptoHasher("sha256");
  try {
    for await (const part of Bun.file(path).stream()) hash.update(part);
  } catch (error) {
    throw unreadable(path, error, { hint: "give the path of a file, or the name of a data set" });
  }
  return hash.digest("hex");
}
