// The generalised Jensen-Shannon divergence of rows of logits, student and teacher, with p = softmax(student), q = softmax(teacher) and
// m = (1 - beta) p + beta q. Rows whose target is IGNORE count for nothing.
//   beta 0   value = sum q (log q - log p)                  d = p - q
//   beta 1   value = sum p (log p - log q)                  d = p (log p - log q - value)
//   between  value = sum beta q (log q - log m) + (1 - beta) p (log p - log m)
//            d = (1 - beta) p (log p - log m - inner)       inner = sum p (log p - log m)
//   statistics [R, 4]: value; log-sum-exp of the student's row, and of the teacher's; inner (beta 1: value; beta 0: 0)
//   backward   dx[r, c] = grad[r] d[r, c]
// With u = log q - log p, log m - log p = log((1 - beta) + beta exp u): zero where both agree.
import { input, number, output, param, rowsOfRun, take } from "./job";
import { exp4, loadFirst, log1, log4, storeFirst, sumLanes } from "./math";
import { expSum, largestOf } from "./softmax";

const IGNORE: u32 = 0xffffffff;
/** Beyond, exp would overflow, and what it is multiplied by is 0. */
const FAR: f32 = 80;

@inline
function clamp(x: v128): v128 {
  return f32x4.pmin(f32x4.pmax(x, f32x4.splat(-FAR)), f32x4.splat(FAR));
}

@inline
function mixture(apart: v128, beta: f32): v128 {
  return log4(f32x4.add(f32x4.splat(1 - beta), f32x4.mul(f32x4.splat(beta), exp4(apart))));
}

/** The first `count` lanes, zeros behind them. */
@inline
function firstOf(v: v128, count: u32): v128 {
  if (count >= 4) return v;
  const lanes = i32x4.lt_s(i32x4(0, 1, 2, 3), i32x4.splat(<i32>count));
  return v128.and(v, lanes);
}

@inline
function loadSome(at: usize, count: u32): v128 {
  return count >= 4 ? v128.load(at) : loadFirst(at, count, 0);
}

export function statistics(job: usize): void {
  const rows = param(job, 0);
  const columns = param(job, 1);
  const beta = number(job, 3);
  const run = rowsOfRun(columns);
  for (let from = take(job, run); from < rows; from = take(job, run)) {
    const end = min(from + run, rows);
    for (let r = from; r < end; r++) {
      const y = output(job) + (<usize>r << 4);
      if (load<u32>(input(job, 2) + (<usize>r << 2)) == IGNORE) {
        v128.store(y, f32x4.splat(0));
        continue;
      }
      const offset = (<usize>r * columns) << 2;
      measure(input(job, 0) + offset, input(job, 1) + offset, columns, beta, y);
    }
  }
}

function measure(s: usize, t: usize, columns: u32, beta: f32, y: usize): void {
  const topS = largestOf(s, columns);
  const topT = largestOf(t, columns);
  const lseS = log1(expSum(s, topS, columns)) + topS;
  const lseT = log1(expSum(t, topT, columns)) + topT;
  const lessS = f32x4.splat(lseS);
  const lessT = f32x4.splat(lseT);
  let values = f32x4.splat(0);
  let inners = f32x4.splat(0);
  for (let c: u32 = 0; c < columns; c += 4) {
    const at: usize = <usize>c << 2;
    const left = columns - c;
    const logP = f32x4.sub(loadSome(s + at, left), lessS);
    const logQ = f32x4.sub(loadSome(t + at, left), lessT);
    const p = exp4(logP);
    const q = exp4(logQ);
    if (beta == 0) {
      values = f32x4.add(values, firstOf(f32x4.mul(q, f32x4.sub(logQ, logP)), left));
    } else if (beta == 1) {
      values = f32x4.add(values, firstOf(f32x4.mul(p, f32x4.sub(logP, logQ)), left));
    } else {
      const apart = clamp(f32x4.sub(logQ, logP));
      const mixed = mixture(apart, beta);
      const inner = f32x4.mul(p, mixed);
      const first = f32x4.mul(f32x4.mul(f32x4.splat(beta), q), f32x4.sub(apart, mixed));
      const value = f32x4.sub(first, f32x4.mul(f32x4.splat(1 - beta), inner));
      values = f32x4.add(values, firstOf(value, left));
      inners = f32x4.sub(inners, firstOf(inner, left));
    }
  }
  const value = sumLanes(values);
  store<f32>(y, value);
  store<f32>(y, lseS, 4);
  store<f32>(y, lseT, 8);
  store<f32>(y, beta == 1 ? value : sumLanes(inners), 12);
}

export function backward(job: usize): void {
  const rows = param(job, 0);
  const columns = param(job, 1);
  const gradStep = param(job, 2);
  const beta = number(job, 3);
  const run = rowsOfRun(columns);
  for (let from = take(job, run); from < rows; from = take(job, run)) {
    const end = min(from + run, rows);
    for (let r = from; r < end; r++) {
      const offset = (<usize>r * columns) << 2;
      const y = output(job) + offset;
      if (load<u32>(input(job, 2) + (<usize>r << 2)) == IGNORE) {
        memory.fill(y, 0, <usize>columns << 2);
        continue;
      }
      const known = input(job, 3) + (<usize>r << 4);
      const grad = load<f32>(input(job, 4) + (<usize>(r * gradStep) << 2));
      slopes(input(job, 0) + offset, input(job, 1) + offset, columns, beta, known, grad, y);
    }
  }
}

function slopes(s: usize, t: usize, columns: u32, beta: f32, known: usize, grad: f32, y: usize): void {
  const lessS = f32x4.splat(load<f32>(known, 4));
  const lessT = f32x4.splat(load<f32>(known, 8));
  const inner = f32x4.splat(load<f32>(known, 12));
  const factor = f32x4.splat(beta == 0 || beta == 1 ? grad : grad * (beta - 1));
  for (let c: u32 = 0; c < columns; c += 4) {
    const at: usize = <usize>c << 2;
    const left = columns - c;
    const logP = f32x4.sub(loadSome(s + at, left), lessS);
    const logQ = f32x4.sub(loadSome(t + at, left), lessT);
    const p = exp4(logP);
    let d: v128;
    if (beta == 0) d = f32x4.sub(p, exp4(logQ));
    else if (beta == 1) d = f32x4.mul(p, f32x4.sub(f32x4.sub(logP, logQ), inner));
    else d = f32x4.mul(p, f32x4.add(mixture(clamp(f32x4.sub(logQ, logP)), beta), inner));
    storeFirst(y + at, f32x4.mul(factor, d), left);
  }
}
