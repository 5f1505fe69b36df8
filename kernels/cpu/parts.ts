// Parts of a tensor: every step-th element from `first` on.
//   slice   y[i] = x[first + step i], whatever the words mean
//   put     y[first + step i] += x[i], in place
import { input, output, param, take } from "./job";

const GRAIN: u32 = 4096;

export function slice(job: usize): void {
  const count = param(job, 0);
  const step: usize = <usize>param(job, 2) << 2;
  const x = input(job, 0) + (<usize>param(job, 1) << 2);
  const y = output(job);
  for (let from = take(job, GRAIN); from < count; from = take(job, GRAIN)) {
    const end = min(from + GRAIN, count);
    for (let i: usize = from; i < end; i++) store<u32>(y + (i << 2), load<u32>(x + i * step));
  }
}

export function put(job: usize): void {
  const count = param(job, 0);
  const step: usize = <usize>param(job, 2) << 2;
  const x = input(job, 0);
  const y = output(job) + (<usize>param(job, 1) << 2);
  for (let from = take(job, GRAIN); from < count; from = take(job, GRAIN)) {
    const end = min(from + GRAIN, count);
    for (let i: usize = from; i < end; i++) store<f32>(y + i * step, load<f32>(y + i * step) + load<f32>(x + (i << 2)));
  }
}
