// Cross-entropy of rows of logits with target ids. Targets of IGNORE count for nothing.
//   forward    y[r] = log(sum over c of exp x[r, c]) - x[r, target]
//   statistics three rows of length R: y as above; the entropy of softmax x[r] in nats; 1 where the target has the largest
//              logit, else 0
//   backward   dx[r, c] = grad[r] (exp(x[r, c] - lse) - [c = target]),  lse = y[r] + x[r, target]
// With DFT (https://arxiv.org/abs/2508.05629) each token's loss is weighted by its probability p, a constant:
//   statistics four rows: p y, the entropy, the hit, y
//   backward   `losses` are these four rows, and grad[r] is p times as large
// `grad` has one element for each row, or one for all.
import { constant, DFT, input, output, param, scratch, take } from "./job";
import { SPARE } from "./pack";
import { exp1, exp4, log1, storeFirst } from "./math";
import { expMoments, expSum, largestOf } from "./softmax";

const IGNORE: u32 = 0xffffffff;

export function forward(job: usize): void {
  const rows = param(job, 0);
  const columns = param(job, 1);
  for (let r = take(job, 1); r < rows; r = take(job, 1)) {
    const y = output(job) + (<usize>r << 2);
    const label = load<u32>(input(job, 1) + (<usize>r << 2));
    if (label == IGNORE) {
      store<f32>(y, 0);
      continue;
    }
    const x = input(job, 0) + ((<usize>r * columns) << 2);
    const largest = largestOf(x, columns);
    const total = expSum(x, largest, columns);
    store<f32>(y, log1(total) + largest - load<f32>(x + (<usize>min(label, columns - 1) << 2)));
  }
}

export function statistics(job: usize): void {
  const rows = param(job, 0);
  const columns = param(job, 1);
  const row: usize = <usize>rows << 2;
  const dft = constant(job, DFT) != 0;
  for (let r = take(job, 1); r < rows; r = take(job, 1)) {
    const y = output(job) + (<usize>r << 2);
    const label = load<u32>(input(job, 1) + (<usize>r << 2));
    if (label == IGNORE) {
      store<f32>(y, 0);
      store<f32>(y + row, 0);
      store<f32>(y + 2 * row, 0);
      if (dft) store<f32>(y + 3 * row, 0);
      continue;
    }
    const x = input(job, 0) + ((<usize>r * columns) << 2);
    const largest = largestOf(x, columns);
    expMoments(x, largest, columns, scratch + SPARE);
    const total = load<f32>(scratch + SPARE);
    const chosen = load<f32>(x + (<usize>min(label, columns - 1) << 2));
    const surprise = log1(total) + largest - chosen;
    store<f32>(y, dft ? exp1(-surprise) * surprise : surprise);
    if (dft) store<f32>(y + 3 * row, surprise);
    store<f32>(y + row, log1(total) - load<f32>(scratch + SPARE, 4) / total);
    store<f32>(y + 2 * row, chosen >= largest ? 1 : 0);
  }
}

export function backward(job: usize): void {
  const rows = param(job, 0);
  const columns = param(job, 1);
  const step = param(job, 2);
  const dft = constant(job, DFT) != 0;
  for (let r = take(job, 1); r < rows; r = take(job, 1)) {
    const y = output(job) + ((<usize>r * columns) << 2);
    const label = load<u32>(input(job, 1) + (<usize>r << 2));
    if (label == IGNORE) {
      memory.fill(y, 0, <usize>columns << 2);
      continue;
    }
    const x = input(job, 0) + ((<usize>r * columns) << 2);
    const target: usize = <usize>min(label, columns - 1) << 2;
    const surprise = load<f32>(input(job, 2) + (<usize>(dft ? 3 * rows + r : r) << 2));
    const lse = f32x4.splat(surprise + load<f32>(x + target));
    const grad = load<f32>(input(job, 3) + (<usize>(r * step) << 2)) * (dft ? exp1(-surprise) : 1);
    const factor = f32x4.splat(grad);
    for (let c: u32 = 0; c < columns; c += 4) {
      const at: usize = <usize>c << 2;
      storeFirst(y + at, f32x4.mul(factor, exp4(f32x4.sub(v128.load(x + at), lse))), columns - c);
    }
    if (label < columns) store<f32>(y + target, load<f32>(y + target) - grad);
  }
}
