// Floats kept in 16 bits: bfloat16, the upper half of a float32, two in a word.
//   narrow   y = x rounded to the nearest bfloat16, of two as near to the even one
//   widen    y = x as float32
import { input, output, param, take } from "./job";
import { half1, lower4, upper4 } from "./math";

const GRAIN: u32 = 8192;

/** Four rounded floats, each in the lower half of its word. NaN stays NaN: rounding must not carry over into its exponent. */
@inline
function rounded(bits: v128): v128 {
  const upper = i32x4.shr_u(bits, 16);
  const even = v128.and(upper, i32x4.splat(1));
  const near = i32x4.shr_u(i32x4.add(i32x4.add(bits, i32x4.splat(0x7fff)), even), 16);
  return v128.bitselect(near, v128.or(upper, i32x4.splat(0x40)), f32x4.eq(bits, bits));
}

export function narrow(job: usize): void {
  const count = param(job, 0);
  const x = input(job, 0);
  const y = output(job);
  for (let from = take(job, GRAIN); from < count; from = take(job, GRAIN)) {
    const end = min(from + GRAIN, count);
    let i = from;
    for (; i + 8 <= end; i += 8) {
      const at = x + (<usize>i << 2);
      // The lower halves of eight words, side by side.
      const pair = i8x16.shuffle(
        rounded(v128.load(at, 0)), rounded(v128.load(at, 16)),
        0, 1, 4, 5, 8, 9, 12, 13, 16, 17, 20, 21, 24, 25, 28, 29,
      );
      v128.store(y + (<usize>i << 1), pair);
    }
    for (; i < end; i++) {
      const word = rounded(v128.load32_splat(x + (<usize>i << 2)));
      store<u16>(y + (<usize>i << 1), <u16>i32x4.extract_lane(word, 0));
    }
  }
}

export function widen(job: usize): void {
  const count = param(job, 0);
  const x = input(job, 0);
  const y = output(job);
  for (let from = take(job, GRAIN); from < count; from = take(job, GRAIN)) {
    const end = min(from + GRAIN, count);
    let i = from;
    for (; i + 8 <= end; i += 8) {
      const v = v128.load(x + (<usize>i << 1));
      v128.store(y + (<usize>i << 2), lower4(v), 0);
      v128.store(y + (<usize>i << 2), upper4(v), 16);
    }
    for (; i < end; i++) store<f32>(y + (<usize>i << 2), half1(x + (<usize>i << 1)));
  }
}
