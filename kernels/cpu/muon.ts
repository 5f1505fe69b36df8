// Muon's two ends (https://kellerjordan.github.io/posts/muon); what is between them are products of matrices.
//   momentum  m = momentum m + (1 - momentum) g, in place;  y = (1 - momentum) g + momentum m, as Nesterov's
//   apply     w = w (1 - lr decay) - lr factor x, in place
// After a bad step (see norm.ts) momentum and weights are not changed any more.
import { input, number, output, param, take } from "./job";
import { storeFirst } from "./math";

const GRAIN: u32 = 16384;

export function momentum(job: usize): void {
  const count = param(job, 0);
  const y = output(job);
  const momentum = input(job, 0);
  const grads = input(job, 1);
  const stats = input(job, 2);
  const bad = load<f32>(stats, 8) != 0;
  const clip = f32x4.splat(load<f32>(stats, 4));
  const keep = f32x4.splat(number(job, 1));
  const rest = f32x4.splat(1 - number(job, 1));
  for (let from = take(job, GRAIN); from < count; from = take(job, GRAIN)) {
    const end = min(from + GRAIN, count);
    for (let i = from; i < end; i += 4) {
      const at: usize = <usize>i << 2;
      if (bad) {
        storeFirst(y + at, f32x4.splat(0), end - i);
        continue;
      }
      const g = f32x4.mul(rest, f32x4.mul(v128.load(grads + at), clip));
      const m = f32x4.add(f32x4.mul(keep, v128.load(momentum + at)), g);
      storeFirst(momentum + at, m, end - i);
      storeFirst(y + at, f32x4.add(g, f32x4.mul(keep, m)), end - i);
    }
  }
}

export function apply(job: usize): void {
  const count = param(job, 0);
  if (load<f32>(input(job, 1), 8) != 0) return;
  const rate = load<f32>(input(job, 2));
  const kept = f32x4.splat(rate * number(job, 2));
  const step = f32x4.splat(rate * number(job, 3));
  const weights = output(job);
  const x = input(job, 0);
  for (let from = take(job, GRAIN); from < count; from = take(job, GRAIN)) {
    const end = min(from + GRAIN, count);
    for (let i = from; i < end; i += 4) {
      const at: usize = <usize>i << 2;
      const w = v128.load(weights + at);
      const y = f32x4.sub(f32x4.sub(w, f32x4.mul(kept, w)), f32x4.mul(step, v128.load(x + at)));
      storeFirst(weights + at, y, end - i);
    }
  }
}
