/** Text files in, token ids out: each file is tokenised once, in worker threads, into a cache on disk. */
import { join } from "node:path";
import { reasonOf, UserError } from "../errors";
import { notText, textOf, unreadable, writeAside } from "../files";
import { fingerprintOf } from "../fingerprint";
import { ownCache } from "../hub/settings";
import type { Tokenizer } from "../text/tokenizer";
import { encodeChunks } from "./encode";

export type TokenArray = Uint16Array | Uint32Array;

export interface CorpusOptions {
  readonly tokenizer: Tokenizer;
  /** Characters encoded so far, and in all. Called only while a file is tokenised. */
  readonly onProgress?: (done: number, total: number) => void;
  readonly cacheDirectory?: string;
}

/** Changes whenever the cache's contents would. */
const VERSION = 1;

/** The tokens of a text file, from the cache if this text was tokenised by this tokenizer before. */
export async function tokensOf(
  path: string,
  { tokenizer, onProgress, cacheDirectory = ownCache() }: CorpusOptions,
): Promise<TokenArray> {
  const text = await readText(path);
  const key = fingerprintOf([text, JSON.stringify([VERSION, tokenizer.files.tokenizer])]);
  const wide = tokenizer.size > 65536;
  const cached = join(cacheDirectory, `${key}-${text.length}.${wide ? "u32" : "u16"}`);
  if (!(await Bun.file(cached).exists())) {
    const ids = await encodeChunks(text, tokenizer, onProgress);
    await writeCache(cached, cacheDirectory, wide ? ids : Uint16Array.from(ids));
  }
  const bytes = Bun.mmap(cached);
  return wide ? new Uint32Array(bytes.buffer, 0, bytes.length / 4) : new Uint16Array(bytes.buffer, 0, bytes.length / 2);
}

async function writeCache(path: string, directory: string, ids: TokenArray): Promise<void> {
  try {
    await writeAside(path, (temporary) => Bun.write(temporary, ids));
  } catch (error) {
    throw new UserError(`the token cache ${directory} cannot be written: ${reasonOf(error)}`, {
      hint: "set DAWNGRAD_CACHE to a folder with room",
      cause: error,
    });
  }
}

/** A text file as text. Refuses what is missing, empty, or not UTF-8. */
export async function readText(path: string): Promise<string> {
  let bytes: Uint8Array;
  try {
    bytes = await Bun.file(path).bytes();
  } catch (error) {
    throw unreadable(`the corpus ${path}`, error, { hint: "give the path of a text file" });
  }
  if (bytes.length === 0) throw new UserError(`the corpus ${path} is empty`, { hint: "give the path of a text file" });
  const text = textOf(bytes, `the corpus ${path}`);
  if (text.includes("\0")) throw notText(`the corpus ${path}`);
  return text;
}
