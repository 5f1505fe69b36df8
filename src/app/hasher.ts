/** Files by the hash of their contents, which is looked up as long as size and time are the same. */
import { existsSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { isSpooled } from "../data/spool";
import { unreadable } from "../files";

export const seenSchema = z.record(z.string(), z.object({ size: z.number(), mtimeMs: z.number(), hash: z.string() }));
export type Seen = z.infer<typeof seenSchema>;

export interface Hasher {
  /** All files that were asked for. */
  readonly seen: Seen;
  of(path: string): Promise<string>;
  /** Of the weights, config and tokenizer of model directories, in order. */
  ofModel(...directories: string[]): Promise<string>;
}

/** Reads files, and those of `known` only where their size or time is another. */
export function hasher(known: Seen): Hasher {
  const seen: Record<string, Seen[string]> = {};
  // Of pipes: what there is of them now, nobody sees again.
  const passing: Record<string, Seen[string]> = {};
  const of = async (path: string) => {
    const { size, mtimeMs } = ageOf(path);
    const before = passing[path] ?? seen[path] ?? known[path];
    const same = before && size >= 0 && before.size === size && before.mtimeMs === mtimeMs;
    const hash = same ? before.hash : await contentHash(path);
    (isSpooled(path) ? passing : seen)[path] = { size, mtimeMs, hash };
    return hash;
  };
  return {
    seen,
    of,
    async ofModel(...directories) {
      const parts: string[] = [];
      for (const directory of directories)
        for (const name of modelFiles(directory)) parts.push(name, await of(join(directory, name)));
      return new Bun.CryptoHasher("sha256").update(parts.join("\n")).digest("hex");
    },
  };
}

function ageOf(path: string): { readonly size: number; readonly mtimeMs: number } {
  try {
    return statSync(path, { throwIfNoEntry: false }) ?? { size: -1, mtimeMs: 0 };
  } catch (error) {
    throw unreadable(path, error);
  }
}

const MODEL_FILES =
  /(?<!^optimizer)\.safetensors$|^(config|adapter_config|tokenizer|tokenizer_config|vocab)\.json$|^merges\.txt$|\.jinja$/;

function modelFiles(directory: string): string[] {
  if (!existsSync(directory) || !statSync(directory).isDirectory()) return [];
  return readdirSync(directory)
    .filter((name) => MODEL_FILES.test(name))
    .sort();
}

async function contentHash(path: string): Promise<string> {
  const hash = new Bun.CryptoHasher("sha256");
  try {
    for await (const part of Bun.file(path).stream()) hash.update(part);
  } catch (error) {
    throw unreadable(path, error, { hint: "give the path of a file, or the name of a data set" });
  }
  return hash.digest("hex");
}
