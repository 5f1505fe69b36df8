/** Encoding a long text in worker threads: it is cut where a cut cannot change a token, and the parts are joined in order. */
import { availableParallelism } from "node:os";
import { UserError } from "../errors";
import type { Tokenizer } from "../text/tokenizer";

/** Characters of a part. */
const PART = 1 << 17;

/** In the executable all modules are one file at the root, beside which the worker lies under its path from src/. */
const workerUrl = new URL(
  import.meta.url.includes("$bunfs") ? "./data/encode-worker.js" : "./encode-worker.ts",
  import.meta.url,
).href;

export interface EncodeRequest {
  readonly files: Tokenizer["files"];
  readonly parts: readonly string[];
}

/** One part's tokens, or why it could not be encoded. */
export type EncodeReply =
  | { readonly at: number; readonly ids: Uint32Array }
  | { readonly error: string; readonly hint: string };

/** The text's tokens; <|endoftext|> ends a document. Short texts, and texts that may not be cut, are encoded right here. */
export async function encodeChunks(
  text: string,
  tokenizer: Tokenizer,
  onProgress?: (done: number, total: number) => void,
): Promise<Uint32Array> {
  const parts = tokenizer.cutsAtSpaces ? cutAtSpaces(text) : [text];
  if (text.length < 4 * PART)
    return Uint32Array.from(parts.flatMap((part) => tokenizer.encode(part, { special: true })));
  return encodeInWorkers(parts, tokenizer, text.length, onProgress);
}

const space = /\p{White_Space}/u;

/** Parts of about PART characters, each beginning with white space that follows something else. */
export function cutAtSpaces(text: string, size = PART): string[] {
  const parts: string[] = [];
  let start = 0;
  while (text.length - start > size) {
    let cut = start + size;
    while (cut < text.length && !(space.test(text[cut]!) && !space.test(text[cut - 1]!))) cut++;
    parts.push(text.slice(start, cut));
    start = cut;
  }
  parts.push(text.slice(start));
  return parts;
}

async function encodeInWorkers(
  parts: readonly string[],
  tokenizer: Tokenizer,
  total: number,
  onProgress?: (done: number, total: number) => void,
) {
  const results: Uint32Array[] = new Array(parts.length);
  const count = Math.min(availableParallelism(), parts.length);
  let done = 0;
  const share = (w: number) => parts.map((_, i) => i).filter((i) => i % count === w);
  await Promise.all(
    Array.from({ length: count }, (_, w) => {
      const mine = share(w);
      const worker = new Worker(workerUrl);
      return new Promise<void>((resolve, reject) => {
        worker.onerror = (event) => reject(new Error(`the tokenising thread failed: ${event.message}`));
        let left = mine.length;
        worker.onmessage = ({ data }: MessageEvent<EncodeReply>) => {
          if ("error" in data) {
            reject(new UserError(data.error, { hint: data.hint }));
            return;
          }
          const part = mine[data.at]!;
          results[part] = data.ids;
          done += parts[part]!.length;
          onProgress?.(done, total);
          if (--left === 0) resolve();
        };
        const request: EncodeRequest = { files: tokenizer.files, parts: mine.map((i) => parts[i]!) };
        worker.postMessage(request);
      }).finally(() => worker.terminate());
    }),
  );
  return joined(results);
}

/** One run of tokens from several. */
export function joined(results: readonly (Uint16Array | Uint32Array)[]): Uint32Array {
  const all = new Uint32Array(results.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const ids of results) {
    all.set(ids, at);
    at += ids.length;
  }
  return all;
}
