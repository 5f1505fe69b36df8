// Cross-entropy of rows of logits with target ids. Targets of IGNORE count for nothing.
//   forward    y[r] = log(sum over c of exp x[r, c]) - x[r, target]
//   statistics [R, 4]: y as above; the entropy of softmax x[r] in nats; 1 where the target has the largest logit, else 0;
//              the mean of x[r]
//   backward   dx[r, c] = grad[r] (exp(x[r, c] - lse) - [c = target]),  lse = losses[r] + x[r, target]
// `losses` has one element for each row, or is the first column of `statistics`; `grad` one for each row, or one for all.
import { input, output, param, rowsOfRun, scratch, take } from "./job";
import { SPARE } from "./pack";
import { log1 } from "./math";
import { expMoments, expSum, largestOf, scaledExp } from "./softmax";

const IGNORE: u32 = 0xffffffff;

export function forward(job: usize): void {
  const rows = param(job, 0);
  const columns = param(job, 1);
  const run = rowsOfRun(columns);
  for (let from = take(job, run); from < rows; from = take(job, run)) {
    const end = min(from + run, rows);
    for (let r = from; r < end; r++) {
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
}

export function statistics(job: usize): void {
  const rows = param(job, 0);
  const columns = param(job, 1);
  const run = rowsOfRun(columns);
  for (let from = take(job, run); from < rows; from = take(job, run)) {
    const end = min(from + run, rows);
    for (let r = from; r < end; r++) {
      const y = output(job) + (<usize>r << 4);
      const label = load<u32>(input(job, 1) + (<usize>r << 2));
      if (label == IGNORE) {
        v128.store(y, f32x4.splat(0));
        continue;
      }
      const x = input(job, 0) + ((<usize>r * columns) << 2);
      const largest = largestOf(x, columns);
      expMoments(x, largest, columns, scratch + SPARE);
      const total = load<f32>(scratch + SPARE);
      const chosen = load<f32>(x + (<usize>min(label, columns - 1) << 2));
      store<f32>(y, log1(total) + largest - chosen);
      store<f32>(y, log1(total) - load<f32>(scratch + SPARE, 4) / total, 4);
      store<f32>(y, chosen >= largest ? 1 : 0, 8);
      store<f32>(y, largest + load<f32>(scratch + SPARE, 8) / <f32>columns, 12);
    }
  }
}

export function backward(job: usize): void {
  const rows = param(job, 0);
  const columns = param(job, 1);
  const gradStep = param(job, 2);
  const lossStep = param(job, 3);
  const run = rowsOfRun(columns);
  for (let from = take(job, run); from < rows; from = take(job, run)) {
    const end = min(from + run, rows);
    for (let r = from; r < end; r++) {
      const y = output(job) + ((<usize>r * columns) << 2);
      const label = load<u32>(input(job, 1) + (<usize>r << 2));
      if (label == IGNORE) {
        memory.fill(y, 0, <usize>columns << 2);
        continue;
      }
      const x = input(job, 0) + ((<usize>r * columns) << 2);
      const target: usize = <usize>min(label, columns - 1) << 2;
      const lse = load<f32>(input(job, 2) + (<usize>(r * lossStep) << 2)) + load<f32>(x + target);
      const grad = load<f32>(input(job, 3) + (<usize>(r * gradStep) << 2));
      scaledExp(x, y, grad, lse, columns);
      if (label < columns) store<f32>(y + target, load<f32>(y + target) - grad);
    }
  }
}
