// Runs of a quantised matrix as floats. nf4: two elements a byte, the first in the high half; a scale for each block of 64,
// itself 8 bits of a map, times a scale for 256 blocks, plus an offset. int8: a scale for each row. src/tensor/stored.ts says
// where in the words each part lies.
import { NF4 } from "./math";

/** Elements of an nf4 block, and blocks that share a scale of their scales. */
const BLOCK: usize = 64;
const NESTED: usize = 256;

/** Elements [first, first + count) of the nf4 matrix of `total` elements at `b`. */
@inline
export function expand(b: usize, kind: u32, total: usize, row: u32, first: usize, count: u32, to: usize): void {
  if (kind == NF4) expand4(b, total, first, count, to);
  else expand8(b, total, row, first, count, to);
}

function expand4(b: usize, total: usize, first: usize, count: u32, to: usize): void {
  const blocks = (total + BLOCK - 1) / BLOCK;
  const scales = b + (((total + 7) / 8) << 2);
  const map = scales + (((blocks + 3) / 4) << 2);
  const scaleMap = map + 64;
  const nested = scaleMap + 1024;
  const offset = load<f32>(nested + (((blocks + NESTED - 1) / NESTED) << 2));

  // Byte p of each of the sixteen values: a code picks its value's bytes from four of these.
  const v0 = v128.load(map, 0);
  const v1 = v128.load(map, 16);
  const v2 = v128.load(map, 32);
  const v3 = v128.load(map, 48);
  const low01 = i8x16.shuffle(v0, v1, 0, 4, 8, 12, 16, 20, 24, 28, 1, 5, 9, 13, 17, 21, 25, 29);
  const low23 = i8x16.shuffle(v2, v3, 0, 4, 8, 12, 16, 20, 24, 28, 1, 5, 9, 13, 17, 21, 25, 29);
  const high01 = i8x16.shuffle(v0, v1, 2, 6, 10, 14, 18, 22, 26, 30, 3, 7, 11, 15, 19, 23, 27, 31);
  const high23 = i8x16.shuffle(v2, v3, 2, 6, 10, 14, 18, 22, 26, 30, 3, 7, 11, 15, 19, 23, 27, 31);
  const p0 = v128.shuffle<i64>(low01, low23, 0, 2);
  const p1 = v128.shuffle<i64>(low01, low23, 1, 3);
  const p2 = v128.shuffle<i64>(high01, high23, 0, 2);
  const p3 = v128.shuffle<i64>(high01, high23, 1, 3);

  const end = first + count;
  for (let i = first; i < end; ) {
    const block = i / BLOCK;
    const code: usize = load<u8>(scales + block);
    const scale = load<f32>(scaleMap + (code << 2)) * load<f32>(nested + ((block / NESTED) << 2)) + offset;
    const stop = min((block + 1) * BLOCK, end);
    const factor = f32x4.splat(scale);
    for (; i < stop && (i & 15) != 0; i++) {
      store<f32>(to, one(b, map, i) * scale);
      to += 4;
    }
    for (; i + 16 <= stop; i += 16) {
      const pairs = v128.load64_zero(b + (i >> 1));
      const codes = i8x16.shuffle(
        i8x16.shr_u(pairs, 4), v128.and(pairs, i8x16.splat(15)),
        0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23,
      );
      const b0 = i8x16.swizzle(p0, codes);
      const b1 = i8x16.swizzle(p1, codes);
      const b2 = i8x16.swizzle(p2, codes);
      const b3 = i8x16.swizzle(p3, codes);
      const w0 = i8x16.shuffle(b0, b1, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
      const w1 = i8x16.shuffle(b2, b3, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
      const w2 = i8x16.shuffle(b0, b1, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
      const w3 = i8x16.shuffle(b2, b3, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
      v128.store(to, f32x4.mul(v128.shuffle<i16>(w0, w1, 0, 8, 1, 9, 2, 10, 3, 11), factor), 0);
      v128.store(to, f32x4.mul(v128.shuffle<i16>(w0, w1, 4, 12, 5, 13, 6, 14, 7, 15), factor), 16);
      v128.store(to, f32x4.mul(v128.shuffle<i16>(w2, w3, 0, 8, 1, 9, 2, 10, 3, 11), factor), 32);
      v128.store(to, f32x4.mul(v128.shuffle<i16>(w2, w3, 4, 12, 5, 13, 6, 14, 7, 15), factor), 48);
      to += 64;
    }
    for (; i < stop; i++) {
      store<f32>(to, one(b, map, i) * scale);
      to += 4;
    }
  }
}

@inline
function one(b: usize, map: usize, i: usize): f32 {
  const byte: usize = load<u8>(b + (i >> 1));
  return load<f32>(map + ((i & 1 ? byte & 15 : byte >> 4) << 2));
}

/** The same for int8: elements of one row, which has `row` of them. */
function expand8(b: usize, total: usize, row: u32, first: usize, count: u32, to: usize): void {
  const scale = load<f32>(b + (((total + 3) / 4) << 2) + ((first / row) << 2));
  const factor = f32x4.splat(scale);
  let from = b + first;
  let i: u32 = 0;
  for (; i + 8 <= count; i += 8) {
    const v = i16x8.extend_low_i8x16_s(v128.load64_zero(from));
    v128.store(to, f32x4.mul(f32x4.convert_i32x4_s(i32x4.extend_low_i16x8_s(v)), factor), 0);
    v128.store(to, f32x4.mul(f32x4.convert_i32x4_s(i32x4.extend_high_i16x8_s(v)), factor), 16);
    from += 8;
    to += 32;
  }
  for (; i < count; i++) {
    store<f32>(to, <f32>load<i8>(from) * scale);
    from++;
    to += 4;
  }
}
