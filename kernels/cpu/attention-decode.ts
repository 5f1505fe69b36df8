// Attention of one new token a sequence over its key-value cache [B, LENGTH, 2 C], each position k then v.
//   append    cache[b, positions[b] + i] = the k and v of row (b, i) of qkv [B tokens, 3 C], in place
//   forward   y[b] = softmax(scale q k) v over the keys 0..positions[b]. A unit is one head of one sequence.
import { constant, HEAD, input, number, output, param, SCRATCH_BYTES, scratch, take } from "./job";
import { dot, exp1, madd, storeFirst } from "./math";
import { largestOf } from "./softmax";

export function append(job: usize): void {
  const rows = param(job, 0);
  const tokens = param(job, 1);
  const length = param(job, 3);
  const width: usize = <usize>(param(job, 2) * constant(job, HEAD)) << 4; // bytes of C channels
  for (let row = take(job, 4); row < rows; row = take(job, 4)) {
    const end = min(row + 4, rows);
    for (let r = row; r < end; r++) {
      const sequence = r / tokens;
      const position = load<u32>(input(job, 1) + (<usize>sequence << 2)) + (r % tokens);
      if (position >= length) continue;
      const target = output(job) + (<usize>sequence * length + position) * 2 * width;
      memory.copy(target, input(job, 0) + <usize>r * 3 * width + width, 2 * width);
    }
  }
}

export function forward(job: usize): void {
  const heads = param(job, 2);
  const length = param(job, 3);
  const scale = number(job, 4);
  const channels = constant(job, HEAD) << 2;
  const width: usize = <usize>(heads * channels) << 2;
  const units = param(job, 0) * heads;
  for (let unit = take(job, 1); unit < units; unit = take(job, 1)) {
    const sequence = unit / heads;
    const head: usize = <usize>((unit % heads) * channels) << 2;
    const count = min(load<u32>(input(job, 1) + (<usize>sequence << 2)) + 1, length);
    if (count > SCRATCH_BYTES >> 2) unreachable();
    const q = input(job, 0) + <usize>sequence * 3 * width + head;
    const keys = input(job, 2) + <usize>sequence * length * 2 * width + head;
    const y = output(job) + <usize>sequence * width + head;
    for (let t: u32 = 0; t < count; t++) {
      store<f32>(scratch + (<usize>t << 2), scale * dot(q, keys + <usize>t * 2 * width, channels));
    }
    const largest = largestOf(scratch, count);
    memory.fill(y, 0, <usize>channels << 2);
    let total: f32 = 0;
    for (let t: u32 = 0; t < count; t++) {
      const weight = exp1(load<f32>(scratch + (<usize>t << 2)) - largest);
      total += weight;
      const weights = f32x4.splat(weight);
      const value = keys + <usize>t * 2 * width + width;
      for (let c: usize = 0; c < <usize>channels << 2; c += 16) {
        v128.store(y + c, madd(weights, v128.load(value + c), v128.load(y + c)));
      }
    }
    const share = f32x4.splat(1 / total);
    for (let c: usize = 0; c < <usize>channels << 2; c += 16) v128.store(y + c, f32x4.mul(share, v128.load(y + c)));
  }
}
