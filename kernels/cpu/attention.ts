// Causal self-attention over packed rows qkv [B T, 3 C], by blocks of queries: the scores of a block against all keys that
// it may see stay in the thread's own memory, and every product runs on product.ts.
//   forward    output = [B T, C] rows of softmax(scale q k) v, then at `lse_offset` the log-sum-exps [B H, T].
//              A unit is one block of one head of one sequence.
//   backward   dqkv [B T, 3 C]. A unit is one head of one sequence.
//              D = dO . O from attention-delta,  p = exp(s - lse),  ds = p (dO v - D) scale
//              dq = ds k,  dk = ds q,  dv = p dO
// With SEGMENTS a row holds several documents one after another: starts[B T] says where in its row the document of each query
// begins, and a query sees no key before that.
import { constant, groups, HEAD, input, number, output, param, SCRATCH_BYTES, scratch, SEGMENTS, take } from "./job";
import { product } from "./product";
import { FREE, SPARE } from "./pack";
import { log1 } from "./math";
import { largestOf, slope, weigh } from "./softmax";

/** Queries of a block: a multiple of a product's strips. */
const BLOCK: u32 = 48;

/** As many queries as leave room for `parts` matrices of scores. */
function blockOf(tokens: u32, parts: u32): u32 {
  const most = (<usize>SCRATCH_BYTES - FREE) / (<usize>tokens * parts * 4);
  if (most == 0) unreachable();
  return <u32>min(<usize>BLOCK, most);
}

export function forward(job: usize): void {
  const tokens = param(job, 0);
  const heads = param(job, 1);
  const lseOffset = param(job, 2);
  const scale = number(job, 3);
  const channels = constant(job, HEAD) << 2;
  const width = heads * channels;
  const row = 3 * width;
  const pairs = groups(job, 1);
  const block = blockOf(tokens, 1);
  const blocks = (tokens + block - 1) / block;
  const scores = scratch + FREE;
  for (let unit = take(job, 1); unit < pairs * blocks; unit = take(job, 1)) {
    // The long blocks first, so that no thread is left alone with one at the end.
    const first = (blocks - 1 - unit / pairs) * block;
    const pair = unit % pairs;
    const count = min(block, tokens - first);
    const end = first + count;
    const sequence: usize = <usize>(pair / heads) * tokens;
    const head: usize = <usize>(pair % heads) * channels;
    const k = input(job, 0) + ((sequence * row + width + head) << 2);
    // Queries of one document at a time: its keys are walked over from its own first token on, wherever in a row it lies.
    for (let from = first, end = first; from < first + count; from = end) {
      end = first + count;
      let low: u32 = 0;
      if (constant(job, SEGMENTS)) {
        const starts = input(job, 1) + (sequence << 2);
        low = load<u32>(starts + (<usize>from << 2));
        end = from + 1;
        while (end < first + count && load<u32>(starts + (<usize>end << 2)) == low) end++;
      }
      const queries = end - from;
      const keys = end - low;
      const before: usize = <usize>low * row << 2;
      const q = input(job, 0) + (((sequence + from) * row + head) << 2);
      const y = output(job) + (((sequence + from) * width + head) << 2);
      product(queries, keys, channels, q, row, 1, k + before, 1, row, scores, keys, false);
      for (let t: u32 = 0; t < queries; t++) {
        const at = scores + ((<usize>t * keys) << 2);
        const seen = from + t + 1 - low;
        const largest = largestOf(at, seen) * scale;
        const total = weigh(at, scale, largest, seen, keys);
        store<f32>(scratch + SPARE + (<usize>t << 2), total);
        store<f32>(output(job) + ((<usize>lseOffset + <usize>pair * tokens + from + t) << 2), largest + log1(total));
      }
      product(queries, channels, keys, scores, keys, 1, k + before + (<usize>width << 2), row, 1, y, width, false);
      for (let t: u32 = 0; t < queries; t++)
        shareOut(y + ((<usize>t * width) << 2), load<f32>(scratch + SPARE + (<usize>t << 2)), channels);
    }
  }
}

/** y / total. */
export function shareOut(y: usize, total: f32, channels: u32): void {
  const factor = f32x4.splat(1 / total);
  for (let c: usize = 0; c < <usize>channels << 2; c += 16) v128.store(y + c, f32x4.mul(factor, v128.load(y + c)));
}

export function backward(job: usize): void {
  const tokens = param(job, 0);
  const heads = param(job, 1);
  const lseOffset = param(job, 2);
  const scale = number(job, 3);
  const channels = constant(job, HEAD) << 2;
  const width = heads * channels;
  const row = 3 * width;
  const pairs = groups(job, 1);
  const block = blockOf(tokens, 2);
  const weights = scratch + FREE;
  const slopes = weights + ((<usize>block * tokens) << 2);
  for (let pair = take(job, 1); pair < pairs; pair = take(job, 1)) {
    const sequence: usize = <usize>(pair / heads) * tokens;
    const head: usize = <usize>(pair % heads) * channels;
    const start = (sequence * row + head) << 2;
    const part: usize = <usize>width << 2; // from q to k, and from k to v
    const k = input(job, 0) + start + part;
    const dk = output(job) + start + part;
    const lse = input(job, 1) + ((<usize>lseOffset + <usize>pair * tokens) << 2);
    const deltas = input(job, 3) + ((<usize>pair * tokens) << 2);
    const starts = constant(job, SEGMENTS) ? input(job, 4) + (sequence << 2) : 0;
    // From the last block of queries to the first: what a block reaches that none before it has, it writes; to the rest it adds.
    let reached = tokens;
    for (let left = tokens; left > 0; ) {
      const end = left;
      const first = ((end - 1) / block) * block;
      const count = end - first;
      left = first;
      const low = starts ? load<u32>(starts + (<usize>first << 2)) : 0;
      const keys = end - low;
      const before: usize = <usize>low * row << 2;
      for (; reached > low; reached--) {
        const at = dk + ((<usize>(reached - 1) * row) << 2);
        memory.fill(at, 0, <usize>channels << 2);
        memory.fill(at + part, 0, <usize>channels << 2);
      }
      const q = input(job, 0) + start + ((<usize>first * row) << 2);
      const grad = input(job, 2) + (((sequence + first) * width + head) << 2);
      product(count, keys, channels, q, row, 1, k + before, 1, row, weights, keys, false);
      product(count, keys, channels, grad, width, 1, k + before + part, 1, row, slopes, keys, false);
      for (let t: u32 = 0; t < count; t++) {
        const at: usize = (<usize>t * keys) << 2;
        const query: usize = <usize>(first + t) << 2;
        const hidden = starts ? load<u32>(starts + query) - low : 0;
        memory.fill(weights + at, 0, <usize>hidden << 2);
        const visible = weights + at + (<usize>hidden << 2);
        weigh(visible, scale, load<f32>(lse + query), first + t + 1 - low - hidden, keys - hidden);
        slope(slopes + at, weights + at, load<f32>(deltas + query), scale, keys);
      }
      const dq = output(job) + start + ((<usize>first * row) << 2);
      product(count, channels, keys, slopes, keys, 1, k + before, row, 1, dq, row, false);
      product(keys, channels, count, slopes, 1, keys, q, row, 1, dk + before, row, true);
      product(keys, channels, count, weights, 1, keys, grad, width, 1, dk + before + part, row, true);
    }
  }
}
