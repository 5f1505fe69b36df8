/** A short name for data: another one as soon as a bit of them is another. */

/** 16 hexadecimal digits of xxHash64 over all arrays, in order. */
export function fingerprintOf(arrays: Iterable<Uint8Array | Uint16Array | Uint32Array>): string {
  let hash = 0n;
  for (const array of arrays) hash = Bun.hash.xxHash64(array, hash);
  return hash.toString(16).padStart(16, "0");
}
