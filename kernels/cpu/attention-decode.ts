// Attention of new tokens over a key-value cache [SLOTS, LENGTH, 2 C], each position k then v. Row (r, i) of qkv [R tokens, 3 C] is
// token i of a sequence in slot slots[r], at position positions[r] + i. A slot past the last is none.
//   append    cache[slot, position] = the k and v of each row, in place
//   copy      the first positions of a slot to another, in place: input 0 is from, to and how many
//   forward   y = softmax(scale q k) v over the slot's keys 0..position, worked out as attention.ts does, to the bit. A unit is one block
//             of queries of one head of one sequence.
import { shareOut } from "./attention";
import { constant, HEAD, input, number, output, param, SCRATCH_BYTES, scratch, take } from "./job";
import { FREE, SPARE } from "./pack";
import { product } from "./product";
import { largestOf, weigh } from "./softmax";

export function append(job: usize): void {
  const rows = param(job, 0);
  const tokens = param(job, 1);
  const slots = param(job, 3);
  const length = param(job, 4);
  const width: usize = <usize>(param(job, 2) * constant(job, HEAD)) << 4; // bytes of C channels
  for (let row = take(job, 4); row < rows; row = take(job, 4)) {
    const end = min(row + 4, rows);
    for (let r = row; r < end; r++) {
      const sequence: usize = <usize>(r / tokens) << 2;
      const slot = load<u32>(input(job, 1) + sequence);
      const position = load<u32>(input(job, 2) + sequence) + (r % tokens);
      if (slot >= slots || position >= length) continue;
      const target = output(job) + (<usize>slot * length + position) * 2 * width;
      memory.copy(target, input(job, 0) + <usize>r * 3 * width + width, 2 * width);
    }
  }
}

/** Positions of a unit. */
const RUN: u32 = 64;

export function copy(job: usize): void {
  const length = param(job, 4);
  const size: usize = <usize>(2 * param(job, 2) * constant(job, HEAD)) << 4;
  const move = input(job, 0);
  const from = output(job) + <usize>load<u32>(move) * length * size;
  const to = output(job) + <usize>load<u32>(move, 4) * length * size;
  const count = min(load<u32>(move, 8), length);
  for (let t = take(job, RUN); t < count; t = take(job, RUN)) {
    memory.copy(to + <usize>t * size, from + <usize>t * size, <usize>min(RUN, count - t) * size);
  }
}

/** Queries of a block: a multiple of a product's strips. */
const BLOCK: u32 = 48;

export function forward(job: usize): void {
  const tokens = param(job, 1);
  const heads = param(job, 2);
  const length = param(job, 4);
  const scale = number(job, 5);
  const channels = constant(job, HEAD) << 2;
  const width = heads * channels;
  const query = 3 * width;
  const row = 2 * width;
  const pairs = (param(job, 0) / tokens) * heads;
  const block = <u32>min(<usize>BLOCK, (<usize>SCRATCH_BYTES - FREE) / (<usize>length << 2));
  if (block == 0) unreachable();
  const count = (tokens + block - 1) / block;
  const scores = scratch + FREE;
  for (let unit = take(job, 1); unit < pairs * count; unit = take(job, 1)) {
    // The long blocks first, so that no thread is left alone with one at the end.
    const first = (count - 1 - unit / pairs) * block;
    const pair = unit % pairs;
    const sequence = pair / heads;
    const head: usize = (pair % heads) * channels;
    const queries = min(block, tokens - first);
    const y = output(job) + ((<usize>(sequence * tokens + first) * width + head) << 2);
    const slot = load<u32>(input(job, 1) + (<usize>sequence << 2));
    if (slot >= param(job, 3)) {
      for (let t: u32 = 0; t < queries; t++) memory.fill(y + ((<usize>t * width) << 2), 0, <usize>channels << 2);
      continue;
    }
    const before = load<u32>(input(job, 2) + (<usize>sequence << 2)) + first; // keys that all of the block's queries see
    const keys = min(before + queries, length);
    const q = input(job, 0) + ((<usize>(sequence * tokens + first) * query + head) << 2);
    const k = input(job, 3) + ((<usize>slot * length * row + head) << 2);
    product(queries, keys, channels, q, query, 1, k, 1, row, scores, keys, false);
    for (let t: u32 = 0; t < queries; t++) {
      const at = scores + ((<usize>t * keys) << 2);
      const seen = min(before + t + 1, keys);
      store<f32>(scratch + SPARE + (<usize>t << 2), weigh(at, scale, largestOf(at, seen) * scale, seen, keys));
    }
    product(queries, channels, keys, scores, keys, 1, k + (<usize>width << 2), row, 1, y, width, false);
    for (let t: u32 = 0; t < queries; t++) {
      shareOut(y + ((<usize>t * width) << 2), load<f32>(scratch + SPARE + (<usize>t << 2)), channels);
    }
  }
}
