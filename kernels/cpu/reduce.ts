// Sums of a matrix [rows, columns], in a fixed order.
//   columns    y[chunk, c] = sum over the chunk's rows of x[r, c]
//   rows       y[r] = factor * sum over c of x[r, c]
//   spread_rows, spread_columns   the gradients: y[r, c] = factor * x[r], y[r, c] = factor * x[r / chunk, c]
import { ACCUMULATE, constant, input, number, output, param, take } from "./job";
import { loadFirst, storeFirst, sumLanes } from "./math";

/** Columns of a unit of `columns`: eight vectors, which stay in registers over the rows. */
const WIDE: u32 = 32;
const ROWS: u32 = 8;

export function columns(job: usize): void {
  const rows = param(job, 0);
  const columns = param(job, 1);
  const chunk = param(job, 2);
  const blocks = (columns + WIDE - 1) / WIDE;
  const units = ((rows + chunk - 1) / chunk) * blocks;
  const onto = constant(job, ACCUMULATE) != 0;
  const x = input(job, 0);
  const width: usize = <usize>columns << 2;
  for (let at = take(job, 1); at < units; at = take(job, 1)) {
    const first = (at / blocks) * chunk;
    const end = min(first + chunk, rows);
    const column = (at % blocks) * WIDE;
    const source = x + <usize>first * width + (<usize>column << 2);
    const target = output(job) + <usize>(at / blocks) * width + (<usize>column << 2);
    if (column + WIDE <= columns) eightVectors(source, width, end - first, target, onto);
    else {
      for (let c: u32 = 0; c < columns - column; c += 4)
        oneVector(source + (<usize>c << 2), width, end - first, target + (<usize>c << 2), columns - column - c, onto);
    }
  }
}

function eightVectors(x: usize, width: usize, rows: u32, y: usize, onto: bool): void {
  let s0 = f32x4.splat(0);
  let s1 = s0;
  let s2 = s0;
  let s3 = s0;
  let s4 = s0;
  let s5 = s0;
  let s6 = s0;
  let s7 = s0;
  for (let r: u32 = 0; r < rows; r++) {
    s0 = f32x4.add(s0, v128.load(x, 0));
    s1 = f32x4.add(s1, v128.load(x, 16));
    s2 = f32x4.add(s2, v128.load(x, 32));
    s3 = f32x4.add(s3, v128.load(x, 48));
    s4 = f32x4.add(s4, v128.load(x, 64));
    s5 = f32x4.add(s5, v128.load(x, 80));
    s6 = f32x4.add(s6, v128.load(x, 96));
    s7 = f32x4.add(s7, v128.load(x, 112));
    x += width;
  }
  if (onto) {
    s0 = f32x4.add(s0, v128.load(y, 0));
    s1 = f32x4.add(s1, v128.load(y, 16));
    s2 = f32x4.add(s2, v128.load(y, 32));
    s3 = f32x4.add(s3, v128.load(y, 48));
    s4 = f32x4.add(s4, v128.load(y, 64));
    s5 = f32x4.add(s5, v128.load(y, 80));
    s6 = f32x4.add(s6, v128.load(y, 96));
    s7 = f32x4.add(s7, v128.load(y, 112));
  }
  v128.store(y, s0, 0);
  v128.store(y, s1, 16);
  v128.store(y, s2, 32);
  v128.store(y, s3, 48);
  v128.store(y, s4, 64);
  v128.store(y, s5, 80);
  v128.store(y, s6, 96);
  v128.store(y, s7, 112);
}

function oneVector(x: usize, width: usize, rows: u32, y: usize, count: u32, onto: bool): void {
  let sum = f32x4.splat(0);
  for (let r: u32 = 0; r < rows; r++) {
    sum = f32x4.add(sum, v128.load(x));
    x += width;
  }
  storeFirst(y, onto ? f32x4.add(sum, v128.load(y)) : sum, count);
}

export function rows(job: usize): void {
  const rows = param(job, 0);
  const columns = param(job, 1);
  const factor = number(job, 3);
  const x = input(job, 0);
  for (let from = take(job, ROWS); from < rows; from = take(job, ROWS)) {
    const end = min(from + ROWS, rows);
    for (let r = from; r < end; r++) {
      store<f32>(output(job) + (<usize>r << 2), factor * sumOf(x + ((<usize>r * columns) << 2), columns));
    }
  }
}

/** The sum of a run of floats. */
export function sumOf(x: usize, count: u32): f32 {
  let s0 = f32x4.splat(0);
  let s1 = f32x4.splat(0);
  let s2 = f32x4.splat(0);
  let s3 = f32x4.splat(0);
  let i: u32 = 0;
  for (; i + 16 <= count; i += 16) {
    s0 = f32x4.add(s0, v128.load(x, 0));
    s1 = f32x4.add(s1, v128.load(x, 16));
    s2 = f32x4.add(s2, v128.load(x, 32));
    s3 = f32x4.add(s3, v128.load(x, 48));
    x += 64;
  }
  for (; i + 4 <= count; i += 4) {
    s0 = f32x4.add(s0, v128.load(x));
    x += 16;
  }
  if (i < count) s1 = f32x4.add(s1, loadFirst(x, count - i, 0));
  return sumLanes(f32x4.add(f32x4.add(s0, s1), f32x4.add(s2, s3)));
}

export function spread_rows(job: usize): void {
  const rows = param(job, 0);
  const columns = param(job, 1);
  const factor = number(job, 3);
  for (let r = take(job, 1); r < rows; r = take(job, 1)) {
    const value = f32x4.splat(load<f32>(input(job, 0) + (<usize>r << 2)) * factor);
    const y = output(job) + ((<usize>r * columns) << 2);
    for (let c: u32 = 0; c < columns; c += 4) storeFirst(y + (<usize>c << 2), value, columns - c);
  }
}

export function spread_columns(job: usize): void {
  const rows = param(job, 0);
  const columns = param(job, 1);
  const chunk = param(job, 2);
  const factor = f32x4.splat(number(job, 3));
  for (let r = take(job, 1); r < rows; r = take(job, 1)) {
    const x = input(job, 0) + ((<usize>(r / chunk) * columns) << 2);
    const y = output(job) + ((<usize>r * columns) << 2);
    for (let c: u32 = 0; c < columns; c += 4) {
      const at: usize = <usize>c << 2;
      storeFirst(y + at, f32x4.mul(factor, v128.load(x + at)), columns - c);
    }
  }
}
