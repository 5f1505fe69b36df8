// y = x / (1 - p) where a random number is at least p, else 0. The number is a hash of (seed, stream, index).
import { input, native, number, output, param, take } from "./job";
import { pcg, unit } from "./math";
import { nativeDropout } from "./native";

const GRAIN: u32 = 16384;

export function forward(job: usize): void {
  const count = param(job, 0);
  const rate = number(job, 2);
  const kept: f32 = 1 - rate;
  const x = input(job, 0);
  const y = output(job);
  const key = pcg(param(job, 1) + pcg(load<u32>(input(job, 1))));
  for (let from = take(job, GRAIN); from < count; from = take(job, GRAIN)) {
    if (native) {
      const at = <usize>from << 2;
      nativeDropout(x + at, y + at, from + key, rate, kept, min(GRAIN, count - from));
      continue;
    }
    const end = min(from + GRAIN, count);
    for (let i = from; i < end; i++) {
      const at: usize = <usize>i << 2;
      store<f32>(y + at, unit(pcg(i + key)) >= rate ? load<f32>(x + at) / kept : 0);
    }
  }
}
