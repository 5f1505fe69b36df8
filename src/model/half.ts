/** Float32 and the two 16-bit forms: bfloat16, which is its upper half, and float16. */
import { UserError } from "../errors";

/** Rounded to the nearest, of two as near to the even one. NaN stays NaN: rounding must not carry over into its sign. */
export function narrowed(values: Float32Array, halves = new Uint16Array(values.length)): Uint16Array<ArrayBuffer> {
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  for (let i = 0; i < halves.length; i++) {
    const word = bits[i]!;
    const notANumber = (word & 0x7fffffff) > 0x7f800000;
    halves[i] = notANumber ? (word >>> 16) | 0x40 : (word + 0x7fff + ((word >>> 16) & 1)) >>> 16;
  }
  return halves;
}

export function widened(halves: Uint16Array, into: Float32Array = new Float32Array(halves.length)): Float32Array {
  const bits = new Uint32Array(into.buffer, into.byteOffset, into.length);
  for (let i = 0; i < halves.length; i++) bits[i] = halves[i]! << 16;
  return into;
}

/** The same for float16. Throws a UserError where a value is past 65,504. */
export function narrowedToF16(values: Float32Array, halves = new Uint16Array(values.length)): Uint16Array<ArrayBuffer> {
  const floats = new Float16Array(halves.buffer, halves.byteOffset, values.length);
  floats.set(values);
  const past = floats.findIndex((v) => !Number.isFinite(v));
  if (past >= 0) {
    throw new UserError(`a weight of ${values[past]} is past what float16 holds`, { hint: "use --storage bf16" });
  }
  return halves;
}

export function widenedFromF16(
  halves: Uint16Array,
  into: Float32Array = new Float32Array(halves.length),
): Float32Array {
  into.set(new Float16Array(halves.buffer, halves.byteOffset, halves.length));
  return into;
}
