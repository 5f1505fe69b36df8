// Weight-decomposed adapters, over columns j of `columns`.
//   norm                y[j] = length of column j of W + factor (B A)^T
//                       W [rows, columns], A [rank, rows], B [columns, rank]
//   forward             y = x m / norm + bias
//   backward            dx = grad m / norm
//   backward_magnitude  dm[j] = (sum over rows of x grad) / norm[j]
import { input, number, output, param, STORED, constant, SCRATCH_BYTES, scratch, take } from "./job";
import { isQuantised, load4, madd, shiftOf, storeFirst } from "./math";
import { FREE } from "./pack";
import { expand } from "./quantised";

/** Columns of a unit. */
const RUN: u32 = 64;

export function norm(job: usize): void {
  const columns = param(job, 1);
  const floats = max(<usize>param(job, 0), <usize>RUN * param(job, 2)) + RUN;
  if ((floats << 2) + FREE > SCRATCH_BYTES) unreachable();
  for (let j = take(job, RUN); j < columns; j = take(job, RUN)) {
    if (isQuantised(constant(job, STORED))) turnedNorms(job, j, min(j + RUN, columns));
    else norms(job, j, min(RUN, columns - j));
  }
}

/** A quantised W lies [columns, rows]: its columns are straight in memory. */
function turnedNorms(job: usize, from: u32, end: u32): void {
  const rows = param(job, 0);
  const rank = param(job, 2);
  const factor = f32x4.splat(number(job, 3));
  const total = <usize>rows * param(job, 1);
  const column = scratch + FREE;
  for (let j = from; j < end; j++) {
    expand(input(job, 0), constant(job, STORED), total, rows, <usize>j * rows, rows, column);
    let squares: f32 = 0;
    for (let i: u32 = 0; i < rows; i += 4) {
      let v = f32x4.splat(0);
      for (let r: u32 = 0; r < rank; r++) {
        const b = v128.load32_splat(input(job, 2) + ((<usize>j * rank + r) << 2));
        v = madd(b, v128.load(input(job, 1) + ((<usize>r * rows + i) << 2)), v);
      }
      v = madd(factor, v, v128.load(column + (<usize>i << 2)));
      const squared = f32x4.mul(v, v);
      const here = rows - i;
      squares += f32x4.extract_lane(squared, 0);
      if (here > 1) squares += f32x4.extract_lane(squared, 1);
      if (here > 2) squares += f32x4.extract_lane(squared, 2);
      if (here > 3) squares += f32x4.extract_lane(squared, 3);
    }
    store<f32>(output(job) + (<usize>j << 2), <f32>Mathf.sqrt(squares));
  }
}

/** B lies [columns, rank]: a unit's part of it is turned first, so that 16 columns at a time can be made of A and B. */
function norms(job: usize, from: u32, count: u32): void {
  const rows = param(job, 0);
  const columns = param(job, 1);
  const rank = param(job, 2);
  const factor = f32x4.splat(number(job, 3));
  const kind = constant(job, STORED);
  const sums = scratch + FREE;
  const turned = sums + (<usize>RUN << 2);
  memory.fill(sums, 0, (<usize>RUN * (rank + 1)) << 2);
  for (let x: u32 = 0; x < count; x++)
    for (let r: u32 = 0; r < rank; r++)
      store<f32>(turned + ((<usize>r * RUN + x) << 2), load<f32>(input(job, 2) + ((<usize>(from + x) * rank + r) << 2)));
  const step = <usize>rows << 2;
  for (let i: u32 = 0; i < rows; i++) {
    const w = input(job, 0) + ((<usize>i * columns + from) << shiftOf(kind));
    for (let x: u32 = 0; x < count; x += 16) {
      let v0 = f32x4.splat(0);
      let v1 = f32x4.splat(0);
      let v2 = f32x4.splat(0);
      let v3 = f32x4.splat(0);
      let a = input(job, 1) + (<usize>i << 2);
      let b = turned + (<usize>x << 2);
      for (let r: u32 = 0; r < rank; r++) {
        const each = v128.load32_splat(a);
        v0 = madd(each, v128.load(b, 0), v0);
        v1 = madd(each, v128.load(b, 16), v1);
        v2 = madd(each, v128.load(b, 32), v2);
        v3 = madd(each, v128.load(b, 48), v3);
        a += step;
        b += <usize>RUN << 2;
      }
      const to = sums + (<usize>x << 2);
      const own = w + (<usize>x << shiftOf(kind));
      const next = <usize>4 << shiftOf(kind);
      addSquares(to, madd(factor, v0, load4(own, kind)));
      if (x + 4 < count) addSquares(to + 16, madd(factor, v1, load4(own + next, kind)));
      if (x + 8 < count) addSquares(to + 32, madd(factor, v2, load4(own + 2 * next, kind)));
      if (x + 12 < count) addSquares(to + 48, madd(factor, v3, load4(own + 3 * next, kind)));
    }
  }
  for (let x: u32 = 0; x < count; x += 4)
    storeFirst(output(job) + (<usize>(from + x) << 2), f32x4.sqrt(v128.load(sums + (<usize>x << 2))), count - x);
}

@inline
function addSquares(to: usize, v: v128): void {
  v128.store(to, madd(v, v, v128.load(to)));
}

export function forward(job: usize): void {
  scaled(job, true);
}

export function backward(job: usize): void {
  scaled(job, false);
}

function scaled(job: usize, biased: bool): void {
  const rows = param(job, 0);
  const columns = param(job, 1);
  for (let r = take(job, 4); r < rows; r = take(job, 4)) {
    const end = min(r + 4, rows);
    for (let row = r; row < end; row++) {
      const start: usize = (<usize>row * columns) << 2;
      for (let j: u32 = 0; j < columns; j += 4) {
        const at: usize = <usize>j << 2;
        const share = f32x4.div(v128.load(input(job, 1) + at), v128.load(input(job, 2) + at));
        const x = v128.load(input(job, 0) + start + at);
        const y = biased ? madd(x, share, v128.load(input(job, 3) + at)) : f32x4.mul(x, share);
        storeFirst(output(job) + start + at, y, columns - j);
      }
    }
  }
}

export function backward_magnitude(job: usize): void {
  const rows = param(job, 0);
  const columns = param(job, 1);
  for (let j = take(job, RUN); j < columns; j = take(job, RUN)) {
    const end = min(j + RUN, columns);
    for (let c = j; c < end; c += 4) {
      const column: usize = <usize>c << 2;
      let sum = f32x4.splat(0);
      for (let i: u32 = 0; i < rows; i++) {
        const at = ((<usize>i * columns) << 2) + column;
        sum = madd(v128.load(input(job, 0) + at), v128.load(input(job, 1) + at), sum);
      }
      storeFirst(output(job) + column, f32x4.div(sum, v128.load(input(job, 2) + column)), end - c);
    }
  }
}
