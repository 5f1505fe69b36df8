/** The reference's log-probabilities of completions: computed once, and kept on disk by row. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { reasonOf, UserError } from "../errors";
import { completionLogProbs, type Weighted } from "../eval/completions";
import type { Scoring } from "../eval/passes";
import { writeAside } from "../files";
import { fingerprintOf } from "../fingerprint";
import { ownCache } from "../hub/settings";
import { percentages, type Reporter } from "../log/console";
import type { Slab } from "../model/slab";

/** Changes whenever a kept number would mean something else. */
const VERSION = 1;
/** Milliseconds after which what was computed so far is kept. */
const KEPT_EVERY = 20_000;

export interface ReferenceOptions extends Scoring {
  readonly weights: Slab;
  readonly console: Reporter;
  /** What is said while it is computed. */
  readonly name: string;
  readonly cacheDirectory?: string;
}

export interface ReferenceLogProbs {
  /** Of each that was asked for: the sum over its trained tokens. */
  readonly values: Float32Array;
  /** How many were found on disk. */
  readonly kept: number;
}

/**
 * A row's number depends on the model's weights, on the tokens and on which of them are trained, and so on tokenizer, template, lengths
 * and what was cut; it does not depend on other rows. So the file is the model's, and a row is found by the hash of its tokens.
 */
export async function referenceLogProbs(
  options: ReferenceOptions,
  asked: readonly Weighted[],
): Promise<ReferenceLogProbs> {
  const { device, model, weights, console, name, cacheDirectory = ownCache() } = options;
  const key = fingerprintOf([JSON.stringify([VERSION, model.config, device.info.arithmetic]), weights.fingerprint()]);
  const path = join(cacheDirectory, "reference", `${key}.bin`);
  const known = readKept(path);
  if (known === null) console.note(`${name}: ${path} is damaged, and is made again`);
  const rows = known ?? new Map<string, number>();
  const keys = asked.map(keyOf);
  const missing = [...new Map(keys.map((key, at) => [key, at] as const))].filter(([key]) => !rows.has(key));
  const progress = percentages(console, `${name}: log-probabilities of the reference`);
  let saved = performance.now();
  let done = 0;
  const scored = completionLogProbs(
    options,
    missing.map(([, at]) => asked[at]!),
  );
  for await (const [at, logProb] of scored) {
    rows.set(missing[at]![0], logProb);
    progress(++done, missing.length);
    if (performance.now() - saved < KEPT_EVERY) continue;
    await keep(path, rows);
    saved = performance.now();
  }
  if (missing.length > 0) await keep(path, rows);
  console.done();
  return { values: Float32Array.from(keys, (key) => rows.get(key)!), kept: asked.length - missing.length };
}

function keyOf({ example: { ids, trained }, weights }: Weighted): string {
  return fingerprintOf([
    ids,
    trained,
    ...(weights ? [new Uint8Array(weights.buffer, weights.byteOffset, weights.byteLength)] : []),
  ]);
}

/** Bytes of a row: its key and its number. Behind all rows stands the hash of what is before. */
const KEY_BYTES = 8;
const ROW_BYTES = KEY_BYTES + 4;
const HASH_BYTES = 8;

async function keep(path: string, rows: ReadonlyMap<string, number>): Promise<void> {
  const keys = BigUint64Array.from(rows.keys(), (key) => BigInt(`0x${key}`));
  const bytes = Buffer.concat([bytesOf(keys), bytesOf(Float32Array.from(rows.values()))]);
  try {
    await writeAside(path, (temporary) => Bun.write(temporary, [bytes, hashOf(bytes)]));
  } catch (error) {
    throw new UserError(`the cache ${path} cannot be written: ${reasonOf(error)}`, {
      hint: "set DAWNGRAD_CACHE to a folder with room",
      cause: error,
    });
  }
}

/** What was kept; null where it is not what was written. */
function readKept(path: string): Map<string, number> | null {
  if (!existsSync(path)) return new Map();
  const file = readFileSync(path);
  const count = (file.length - HASH_BYTES) / ROW_BYTES;
  if (!Number.isInteger(count) || count < 0) return null;
  const bytes = file.subarray(0, file.length - HASH_BYTES);
  if (!hashOf(bytes).equals(file.subarray(bytes.length))) return null;
  return new Map(
    Array.from({ length: count }, (_, at) => [
      bytes
        .readBigUInt64LE(KEY_BYTES * at)
        .toString(16)
        .padStart(2 * KEY_BYTES, "0"),
      bytes.readFloatLE(KEY_BYTES * count + 4 * at),
    ]),
  );
}

function hashOf(bytes: Uint8Array): Buffer {
  return bytesOf(BigUint64Array.of(Bun.hash.xxHash64(bytes)));
}

function bytesOf({ buffer, byteOffset, byteLength }: Float32Array | BigUint64Array): Buffer {
  return Buffer.from(buffer, byteOffset, byteLength);
}
