/** Float32 and bfloat16, which is its upper half. */

/** Rounded to the nearest, of two as near to the even one. */
export function narrowed(values: Float32Array, halves = new Uint16Array(values.length)): Uint16Array<ArrayBuffer> {
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  for (let i = 0; i < halves.length; i++) {
    const word = bits[i]!;
    halves[i] = (word + 0x7fff + ((word >>> 16) & 1)) >>> 16;
  }
  return halves;
}

export function widened(halves: Uint16Array, into: Float32Array = new Float32Array(halves.length)): Float32Array {
  const bits = new Uint32Array(into.buffer, into.byteOffset, into.length);
  for (let i = 0; i < halves.length; i++) bits[i] = halves[i]! << 16;
  return into;
}
