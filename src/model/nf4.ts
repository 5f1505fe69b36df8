/**
 * The 4-bit normal float of QLoRA with double quantisation, as bitsandbytes computes it (https://arxiv.org/abs/2305.14314, section 3;
 * create_normal_map and create_dynamic_map of bitsandbytes' functional.py).
 */
import { BLOCK, NESTED, nf4Layout } from "../tensor/stored";
import { largestOf } from "./largest";

/** The sixteen values of nf4, ascending. */
export const NF4 = Float32Array.of(
  -1.0,
  -0.6961928009986877,
  -0.5250730514526367,
  -0.39491748809814453,
  -0.28444138169288635,
  -0.18477343022823334,
  -0.09105003625154495,
  0.0,
  0.07958029955625534,
  0.16093020141124725,
  0.24611230194568634,
  0.33791524171829224,
  0.44070982933044434,
  0.5626170039176941,
  0.7229568362236023,
  1.0,
);

/** The 256 values of the signed 8-bit dynamic map, ascending: a decimal exponent and a fraction that share seven bits. */
export function dynamicMap(): Float32Array {
  const values = [0, 1];
  for (let exponent = 0; exponent < 7; exponent++) {
    const count = 2 ** exponent;
    const edge = (i: number) => Math.fround(0.1 + (0.9 * i) / count);
    for (let i = 0; i < count; i++) {
      const mean = Math.fround(Math.fround(edge(i) + edge(i + 1)) / 2);
      values.push(10 ** (exponent - 6) * mean, -(10 ** (exponent - 6)) * mean);
    }
  }
  return Float32Array.from(values).sort();
}

/** Between neighbouring values; the nearer one is taken. */
const midpoints = NF4.subarray(1).map((v, i) => (v + NF4[i]!) / 2);

/** How many midpoints are below x: by halves. */
function nf4Code(x: number): number {
  let code = x > midpoints[7]! ? 8 : 0;
  if (x > midpoints[code + 3]!) code += 4;
  if (x > midpoints[code + 1]!) code += 2;
  return x > midpoints[code]! ? code + 1 : code;
}

export function packNf4(values: Float32Array): Uint32Array {
  const layout = nf4Layout(values.length);
  const words = new Uint32Array(layout.words);
  const bytes = new Uint8Array(words.buffer);
  const floats = new Float32Array(words.buffer);
  const largest = largestOf(values, BLOCK);
  for (let block = 0; block < layout.blocks; block++) {
    const scale = largest[block]!;
    const end = Math.min((block + 1) * BLOCK, values.length);
    for (let i = block * BLOCK; i < end; i++) {
      const code = nf4Code(scale === 0 ? 0 : Math.fround(values[i]! / scale));
      bytes[i >> 1]! |= i % 2 === 0 ? code << 4 : code;
    }
  }

  const map = dynamicMap();
  const offset = Math.fround(largest.reduce((sum, v) => sum + v, 0) / Math.max(1, largest.length));
  const rest = largest.map((v) => v - offset);
  const nested = largestOf(rest, NESTED);
  rest.forEach((v, block) => {
    const scale = nested[Math.floor(block / NESTED)]!;
    bytes[4 * layout.scales + block] = nearestIn(map, scale === 0 ? 0 : Math.fround(v / scale));
  });
  floats.set(NF4, layout.map);
  floats.set(map, layout.scaleMap);
  floats.set(nested, layout.nested);
  floats[layout.offset] = offset;
  return words;
}

export function unpackNf4(words: Uint32Array, count: number): Float32Array<ArrayBuffer> {
  const layout = nf4Layout(count);
  const bytes = new Uint8Array(words.buffer, words.byteOffset, words.byteLength);
  const floats = new Float32Array(words.buffer, words.byteOffset, words.length);
  const scales = new Float32Array(layout.blocks).map((_, block) => {
    const code = bytes[4 * layout.scales + block]!;
    const product = Math.fround(floats[layout.scaleMap + code]! * floats[layout.nested + Math.floor(block / NESTED)]!);
    return product + floats[layout.offset]!;
  });
  const values = new Float32Array(count);
  for (let i = 0; i < count; i++) {
    const byte = bytes[i >> 1]!;
    values[i] = floats[layout.map + (i % 2 === 0 ? byte >> 4 : byte & 15)]! * scales[Math.floor(i / BLOCK)]!;
  }
  return values;
}

/** The place of the value of an ascending list that is nearest to x. */
function nearestIn(list: Float32Array, x: number): number {
  let low = 0;
  let high = list.length - 1;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (list[middle]! <= x) low = middle;
    else high = middle;
  }
  return x - list[low]! <= list[high]! - x ? low : high;
}
