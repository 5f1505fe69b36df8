// The norm of all gradients, in a fixed order, and whether anything in them is NaN or infinite.
//   partial   sums[first + w] = sum of squares over share w of a window of the slab; an element that is not finite counts
//             as `limit`. There are as many shares as the WGSL twin has workgroups.
//   finish    norm = sqrt(sum of sums); the clip factor; and, once a norm or a loss is not finite, the step that it was.
// stats: norm, clip factor, 1 + the first bad step (0: none).  schedule: lr, 1 - beta1^t, 1 - beta2^t, step.
import { groups, input, number, output, param, take } from "./job";
import { loadFirst, sumLanes } from "./math";

// By bits, as the WGSL twin does it.
@inline
function finite(v: f32): bool {
  return (reinterpret<u32>(v) & 0x7fffffff) < 0x7f800000;
}

export function partial(job: usize): void {
  const count = param(job, 0);
  const shares = groups(job, 0);
  const share = ((count + shares - 1) / shares + 3) & ~3;
  const limit = f32x4.splat(number(job, 3));
  for (let w = take(job, 1); w < shares; w = take(job, 1)) {
    const first = min(w * share, count);
    const end = min(first + share, count);
    let x = input(job, 0) + (<usize>first << 2);
    let sum = f32x4.splat(0);
    for (let i = first; i < end; i += 4) {
      const v = end - i >= 4 ? v128.load(x) : loadFirst(x, end - i, 0);
      const bits = v128.and(v, i32x4.splat(0x7fffffff));
      const isFinite = i32x4.lt_s(bits, i32x4.splat(0x7f800000));
      sum = f32x4.add(sum, v128.bitselect(f32x4.mul(v, v), limit, isFinite));
      x += 16;
    }
    store<f32>(output(job) + (<usize>(param(job, 1) + w) << 2), sumLanes(sum));
  }
}

export function finish(job: usize): void {
  if (take(job, 1) != 0) return;
  const count = param(job, 0);
  const clip = number(job, 2);
  const limit = number(job, 3);
  const values = input(job, 0);
  let total: f64 = 0;
  let wrong = !finite(load<f32>(input(job, 2)));
  for (let i: u32 = 0; i < count; i++) {
    const v = load<f32>(values + (<usize>i << 2));
    total += v;
    if (!finite(v) || v >= limit) wrong = true;
  }
  const norm = sqrt<f32>(<f32>total);
  const stats = output(job);
  store<f32>(stats, norm);
  store<f32>(stats, clip > 0 ? min<f32>(1, clip / (norm + 1e-6)) : 1, 4);
  if (wrong && load<f32>(stats, 8) == 0) store<f32>(stats, load<f32>(input(job, 1), 12) + 1, 8);
}
