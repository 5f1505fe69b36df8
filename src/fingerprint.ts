/** A short name for data: another one as soon as a bit of them is another. */

/** 16 hexadecimal digits of xxHash64 over all parts, in order. */
export function fingerprintOf(parts: Iterable<string | Uint8Array | Uint16Array | Uint32Array>): string {
  let hash = 0n;
  for (const part of parts) hash = Bun.hash.xxHash64(part, hash);
  return hash.toString(16).padStart(16, "0");
}
