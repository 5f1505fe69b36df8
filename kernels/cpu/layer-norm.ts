// Layer norm over rows: y = (x - mean) rstd scale + shift.
//   statistics       mean and rstd of each row
//   forward          y
//   statistics_forward   both in one, which no WGSL twin has
//   backward         dx = rstd (g - mean(g) - xhat mean(g xhat)),  g = grad scale,  xhat = (x - mean) rstd
//   backward_scale   for each chunk of rows: sum of grad xhat
import { input, native, number, output, param, rowsOfRun, take } from "./job";
import { loadFirst, madd, storeFirst, sumLanes } from "./math";
import { nativeLayerNorm, nativeNormBackward, NORMALISED, STATISTICS, STATISTICS_NORMALISED } from "./native";
import { sumOf } from "./reduce";

/** Columns of a unit of backward_scale: eight vectors. */
const WIDE: u32 = 32;

export function statistics(job: usize): void {
  const rows = param(job, 0);
  const columns = param(job, 1);
  const run = rowsOfRun(columns);
  for (let from = take(job, run); from < rows; from = take(job, run)) {
    const end = min(from + run, rows);
    if (native) {
      const x = input(job, 0) + ((<usize>from * columns) << 2);
      nativeLayerNorm(STATISTICS, end - from, columns, x, 0, output(job) + (<usize>from << 3), 0, 0, number(job, 3));
      continue;
    }
    for (let r = from; r < end; r++) {
      const x = input(job, 0) + ((<usize>r * columns) << 2);
      rowStatistics(x, columns, number(job, 3), output(job) + (<usize>r << 3));
    }
  }
}

function rowStatistics(x: usize, columns: u32, epsilon: f32, statistic: usize): void {
  const mean = sumOf(x, columns) / <f32>columns;
  const variance = squaresAround(x, mean, columns) / <f32>columns;
  store<f32>(statistic, mean);
  store<f32>(statistic, 1 / sqrt<f32>(variance + epsilon), 4);
}

function squaresAround(x: usize, mean: f32, count: u32): f32 {
  const center = f32x4.splat(mean);
  let s0 = f32x4.splat(0);
  let s1 = s0;
  let s2 = s0;
  let s3 = s0;
  let i: u32 = 0;
  for (; i + 16 <= count; i += 16) {
    const d0 = f32x4.sub(v128.load(x, 0), center);
    const d1 = f32x4.sub(v128.load(x, 16), center);
    const d2 = f32x4.sub(v128.load(x, 32), center);
    const d3 = f32x4.sub(v128.load(x, 48), center);
    s0 = madd(d0, d0, s0);
    s1 = madd(d1, d1, s1);
    s2 = madd(d2, d2, s2);
    s3 = madd(d3, d3, s3);
    x += 64;
  }
  for (; i < count; i += 4) {
    const d = f32x4.sub(count - i >= 4 ? v128.load(x) : loadFirst(x, count - i, mean), center);
    s0 = madd(d, d, s0);
    x += 16;
  }
  return sumLanes(f32x4.add(f32x4.add(s0, s1), f32x4.add(s2, s3)));
}

export function forward(job: usize): void {
  normalise(job, false);
}

/** What `forward` does, with the statistics computed and stored on the way: x is read from memory once. */
export function statistics_forward(job: usize): void {
  normalise(job, true);
}

@inline
function normalise(job: usize, withStatistics: bool): void {
  const rows = param(job, 0);
  const columns = param(job, 1);
  const scale = input(job, 2);
  const shift = input(job, 3);
  const run = rowsOfRun(columns);
  for (let from = take(job, run); from < rows; from = take(job, run)) {
    const end = min(from + run, rows);
    if (native) {
      const at = (<usize>from * columns) << 2;
      const kernel = withStatistics ? STATISTICS_NORMALISED : NORMALISED;
      const statistics = input(job, 1) + (<usize>from << 3);
      const epsilon: f32 = withStatistics ? number(job, 3) : 0;
      nativeLayerNorm(
        kernel, end - from, columns, input(job, 0) + at, output(job) + at, statistics, scale, shift, epsilon,
      );
      continue;
    }
    for (let r = from; r < end; r++) {
      const x = input(job, 0) + ((<usize>r * columns) << 2);
      const y = output(job) + ((<usize>r * columns) << 2);
      const statistic = input(job, 1) + (<usize>r << 3);
      if (withStatistics) rowStatistics(x, columns, number(job, 3), statistic);
      const mean = f32x4.splat(load<f32>(statistic));
      const rstd = f32x4.splat(load<f32>(statistic, 4));
      for (let c: u32 = 0; c < columns; c += 4) {
        const at: usize = <usize>c << 2;
        const xhat = f32x4.mul(f32x4.sub(v128.load(x + at), mean), rstd);
        const value = madd(xhat, v128.load(scale + at), v128.load(shift + at));
        storeFirst(y + at, value, columns - c);
      }
    }
  }
}

export function backward(job: usize): void {
  const rows = param(job, 0);
  const columns = param(job, 1);
  const whole = columns & ~3;
  const scale = input(job, 2);
  const run = rowsOfRun(columns);
  for (let from = take(job, run); from < rows; from = take(job, run)) {
    const end = min(from + run, rows);
    if (native) {
      const at = (<usize>from * columns) << 2;
      const statistics = input(job, 1) + (<usize>from << 3);
      nativeNormBackward(end - from, columns, input(job, 0) + at, output(job) + at, statistics, scale, input(job, 3) + at);
      continue;
    }
    for (let r = from; r < end; r++) {
      const x = input(job, 0) + ((<usize>r * columns) << 2);
      const grad = input(job, 3) + ((<usize>r * columns) << 2);
      const y = output(job) + ((<usize>r * columns) << 2);
      const statistic = input(job, 1) + (<usize>r << 3);
      const mean = f32x4.splat(load<f32>(statistic));
      const rstd = f32x4.splat(load<f32>(statistic, 4));
      let sums = f32x4.splat(0);
      let products = f32x4.splat(0);
      for (let c: u32 = 0; c < whole; c += 4) {
        const at: usize = <usize>c << 2;
        const g = f32x4.mul(v128.load(grad + at), v128.load(scale + at));
        sums = f32x4.add(sums, g);
        products = madd(g, f32x4.mul(f32x4.sub(v128.load(x + at), mean), rstd), products);
      }
      if (whole < columns) {
        const at: usize = <usize>whole << 2;
        const g = f32x4.mul(loadFirst(grad + at, columns - whole, 0), v128.load(scale + at));
        const xhat = f32x4.mul(f32x4.sub(v128.load(x + at), mean), rstd);
        sums = f32x4.add(sums, only(g, columns - whole));
        products = f32x4.add(products, only(f32x4.mul(g, xhat), columns - whole));
      }
      const meanG = f32x4.splat(sumLanes(sums) / <f32>columns);
      const meanGx = f32x4.splat(sumLanes(products) / <f32>columns);
      for (let c: u32 = 0; c < columns; c += 4) {
        const at: usize = <usize>c << 2;
        const g = f32x4.mul(v128.load(grad + at), v128.load(scale + at));
        const xhat = f32x4.mul(f32x4.sub(v128.load(x + at), mean), rstd);
        const value = f32x4.mul(rstd, f32x4.sub(f32x4.sub(g, meanG), f32x4.mul(xhat, meanGx)));
        storeFirst(y + at, value, columns - c);
      }
    }
  }
}

/** The first `count` lanes (1 to 3), zeros behind them, whatever stands there. */
function only(v: v128, count: u32): v128 {
  if (count < 2) v = i32x4.replace_lane(v, 1, 0);
  if (count < 3) v = i32x4.replace_lane(v, 2, 0);
  return i32x4.replace_lane(v, 3, 0);
}

export function backward_scale(job: usize): void {
  const rows = param(job, 0);
  const columns = param(job, 1);
  const chunk = param(job, 2);
  const blocks = (columns + WIDE - 1) / WIDE;
  const units = ((rows + chunk - 1) / chunk) * blocks;
  for (let unit = take(job, 1); unit < units; unit = take(job, 1)) {
    const first = (unit / blocks) * chunk;
    const end = min(first + chunk, rows);
    const column = (unit % blocks) * WIDE;
    const lastColumn = min(column + WIDE, columns);
    for (let c = column; c < lastColumn; c += 8) {
      const at = ((<usize>first * columns + c) << 2);
      const y = output(job) + ((<usize>(unit / blocks) * columns + c) << 2);
      const statistic = input(job, 1) + (<usize>first << 3);
      const left = lastColumn - c;
      twoVectors(input(job, 0) + at, input(job, 2) + at, <usize>columns << 2, statistic, end - first, y, left);
    }
  }
}

function twoVectors(x: usize, grad: usize, width: usize, statistic: usize, rows: u32, y: usize, count: u32): void {
  let s0 = f32x4.splat(0);
  let s1 = f32x4.splat(0);
  for (let r: u32 = 0; r < rows; r++) {
    const mean = v128.load32_splat(statistic);
    const rstd = v128.load32_splat(statistic + 4);
    const h0 = f32x4.mul(f32x4.sub(v128.load(x, 0), mean), rstd);
    const h1 = f32x4.mul(f32x4.sub(v128.load(x, 16), mean), rstd);
    s0 = madd(v128.load(grad, 0), h0, s0);
    s1 = madd(v128.load(grad, 16), h1, s1);
    x += width;
    grad += width;
    statistic += 8;
  }
  storeFirst(y, s0, count);
  if (count > 4) storeFirst(y + 16, s1, count - 4);
}
