// y = value.
import { number, output, param, take } from "./job";
import { storeFirst } from "./math";

const GRAIN: u32 = 16384;

export function forward(job: usize): void {
  const count = param(job, 0);
  const value = f32x4.splat(number(job, 1));
  const y = output(job);
  for (let from = take(job, GRAIN); from < count; from = take(job, GRAIN)) {
    const end = min(from + GRAIN, count);
    for (let i = from; i < end; i += 4) storeFirst(y + (<usize>i << 2), value, end - i);
  }
}
