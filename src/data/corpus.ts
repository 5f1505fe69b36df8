/** Text files in, token ids out: each text is tokenised once, in worker threads, into a cache on disk. */
import { join } from "node:path";
import { reasonOf, UserError } from "../errors";
import { writeAside } from "../files";
import { fingerprintOf } from "../fingerprint";
import { ownCache } from "../hub/settings";
import type { Tokenizer } from "../text/tokenizer";
import { textIn } from "./content";
import { encodeChunks, joined } from "./encode";

export type TokenArray = Uint16Array | Uint32Array;

export interface CorpusOptions {
  readonly tokenizer: Tokenizer;
  /** Characters encoded so far, and in all. Called only while a file is tokenised. */
  readonly onProgress?: (done: number, total: number) => void;
  /** Hears that a file of the cache was damaged and is made again. */
  readonly onNote?: (line: string) => void;
  readonly cacheDirectory?: string;
}

/** Changes whenever the cache's contents would. */
const VERSION = 3;

/** A text file as text; `name` is what it is called in messages. Refuses what is missing, empty, or not UTF-8. */
export function readText(path: string, name = path): Promise<string> {
  return textIn(path, { what: `the corpus ${name}`, hint: "give the path of a text file" });
}

/** The tokens of a text file, from the cache if this text was tokenised by this tokenizer before. */
export async function tokensOf(
  path: string,
  { name, ...options }: CorpusOptions & { readonly name?: string },
): Promise<TokenArray> {
  return tokensIn(await readText(path, name), options);
}

/** The same of a text. */
export async function tokensIn(
  text: string,
  { tokenizer, onProgress, onNote, cacheDirectory = ownCache() }: CorpusOptions,
): Promise<TokenArray> {
  const key = fingerprintOf([text, JSON.stringify([VERSION, tokenizer.files.tokenizer])]);
  const wide = tokenizer.size > 65536;
  const path = join(cacheDirectory, `${key}-${text.length}.${wide ? "u32" : "u16"}`);
  const exists = await Bun.file(path).exists();
  const cached = exists ? readCache(path, wide) : null;
  if (cached) return cached;
  if (exists) onNote?.(`the token cache ${path} is damaged, and is made again`);
  const ids = await encodeChunks(text, tokenizer, onProgress);
  const narrowed = wide ? ids : Uint16Array.from(ids);
  await writeCache(path, cacheDirectory, narrowed);
  return readCache(path, wide) ?? narrowed;
}

/** Behind the tokens stands their hash: a file that is cut, or of which a bit has changed, is not what was written. */
const HASH_BYTES = 8;

async function writeCache(path: string, directory: string, ids: TokenArray): Promise<void> {
  try {
    await writeAside(path, (temporary) => Bun.write(temporary, [ids, hashOf(ids)]));
  } catch (error) {
    throw new UserError(`the token cache ${directory} cannot be written: ${reasonOf(error)}`, {
      hint: "set DAWNGRAD_CACHE to a folder with room",
      cause: error,
    });
  }
}

/** The tokens, mapped into memory; null where they are not those that were written. */
function readCache(path: string, wide: boolean): TokenArray | null {
  const width = wide ? 4 : 2;
  // No file of no bytes can be mapped.
  const { size } = Bun.file(path);
  if (size < HASH_BYTES || size % width !== 0) return null;
  const bytes = Bun.mmap(path);
  const count = (bytes.length - HASH_BYTES) / width;
  const ids = wide ? new Uint32Array(bytes.buffer, 0, count) : new Uint16Array(bytes.buffer, 0, count);
  return hashOf(ids).every((byte, i) => byte === bytes[bytes.length - HASH_BYTES + i]) ? ids : null;
}

function hashOf(ids: TokenArray): Uint8Array {
  return new Uint8Array(BigUint64Array.of(Bun.hash.xxHash64(ids)).buffer);
}

/** The tokens of several files: each is a document of its own, with an end token before the next. */
export function asDocuments(files: readonly TokenArray[], tokenizer: Tokenizer): TokenArray {
  const [first, ...more] = files;
  if (more.length === 0) return first!;
  const { endOfText } = tokenizer;
  if (endOfText === null) return joined(files);
  const end = Uint32Array.of(endOfText);
  return joined(files.flatMap((ids, i) => (i < files.length - 1 && !hasEnded(ids, tokenizer) ? [ids, end] : [ids])));
}

/** Whether the last document is over: behind its end token is white space at most. */
function hasEnded(ids: TokenArray, { endOfText, decode }: Tokenizer): boolean {
  const at = ids.lastIndexOf(endOfText!);
  const behind = ids.subarray(at + 1);
  return at >= 0 && behind.length < 64 && decode([...behind]).trim() === "";
}
