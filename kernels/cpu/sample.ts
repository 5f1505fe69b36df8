// Drawing the next token of each row of logits [R, V]. A unit is one row. Counts, bias [S, V] and settings [S, 7] are those of the
// row's slot. streams [R, 3] has the slot, the seed and the counter; a slot past the last is none.
//   forward   repetition, presence and frequency penalties, bias, temperature, top-k, top-p, min-p, then one draw;
//             temperature 0 takes the likeliest. A row with a logit that is not finite, before or after that, has no token:
//             NONE stands in its place.
//             Each filter is a threshold on the logits: the k-th largest, or the largest at which the mass above is still
//             p. Thresholds are found bit by bit on the order-preserving integer form of a float, without sorting.
// settings: temperature, top_k, top_p, min_p, repetition, presence and frequency penalty. A count has the prompt's
// tokens in its low 16 bits and the written ones in its high 16. The draw is a function of (seed, counter).
import { input, output, param, SCRATCH_BYTES, scratch, take } from "./job";
import { log1, pcg, storeFirst, unit } from "./math";
import { largestOf, scaledExp } from "./softmax";

const NONE: u32 = 0xffffffff;

export function forward(job: usize): void {
  const rows = param(job, 0);
  const columns = param(job, 1);
  if (columns > SCRATCH_BYTES >> 3) unreachable();
  for (let row = take(job, 1); row < rows; row = take(job, 1)) {
    const stream = input(job, 4) + <usize>row * 12;
    const slot: usize = load<u32>(stream);
    const at = output(job) + (<usize>row << 2);
    if (slot >= param(job, 2)) {
      store<u32>(at, 0);
      continue;
    }
    const bits = pcg(load<u32>(stream, 8) + pcg(pcg(load<u32>(stream, 4))));
    const logits = input(job, 0) + ((<usize>row * columns) << 2);
    const own = (slot * columns) << 2;
    const settings = input(job, 2) + slot * 28;
    const masses = scratch + (((<usize>columns + 3) & ~3) << 2);
    penalised(logits, input(job, 1) + own, settings, input(job, 3) + own, masses, columns);
    const healthy = allFinite(masses, columns);
    store<u32>(at, healthy ? draw(scratch, masses, settings, unit(bits), columns) : NONE);
  }
}

/** `masses` holds the logits after penalties and bias; both arrays are overwritten. */
function draw(orders: usize, masses: usize, settings: usize, random: f32, columns: u32): u32 {
  const temperature = load<f32>(settings);
  const topK = load<f32>(settings, 4);
  const topP = load<f32>(settings, 8);
  const minP = load<f32>(settings, 12);
  const largest = largestOf(masses, columns);
  order(masses, orders, largest, columns);

  let least: u32 = 0;
  if (topK > 0 && topK < <f32>columns) least = threshold(orders, masses, least, topK, false, columns);
  if (topP < 1) {
    const mass = above(orders, masses, least, true, columns);
    least = threshold(orders, masses, least, topP * mass, true, columns);
  }
  if (minP > 0) least = max(least, ordered(largest + log1(minP)));
  if (temperature <= 0) least = ordered(largest);
  least = min(least, ordered(largest));
  return chosen(orders, masses, least, temperature > 0 ? random : 0, columns);
}

/** Logits after penalties, bias and temperature. */
function penalised(logits: usize, counts: usize, settings: usize, bias: usize, to: usize, columns: u32): void {
  const temperature = load<f32>(settings);
  const zero = f32x4.splat(0);
  const penalties = f32x4.splat(load<f32>(settings, 16));
  const presence = f32x4.splat(load<f32>(settings, 20));
  const frequency = f32x4.splat(load<f32>(settings, 24));
  const temperatures = f32x4.splat(temperature > 0 ? temperature : 1);
  for (let c: u32 = 0; c < columns; c += 4) {
    const at: usize = <usize>c << 2;
    const v = v128.load(logits + at);
    const count = v128.load(counts + at);
    const seen = i32x4.ne(count, i32x4.splat(0));
    const written = f32x4.convert_i32x4_u(i32x4.shr_u(count, 16));
    const lowered = v128.bitselect(f32x4.div(v, penalties), f32x4.mul(v, penalties), f32x4.gt(v, zero));
    const once = v128.and(presence, f32x4.gt(written, zero));
    const added = f32x4.sub(f32x4.sub(v128.load(bias + at), f32x4.mul(frequency, written)), once);
    storeFirst(to + at, f32x4.div(f32x4.add(v128.bitselect(lowered, v, seen), added), temperatures), columns - c);
  }
}

/** What is not finite before penalties, bias and temperature is not behind them either. */
function allFinite(values: usize, columns: u32): bool {
  const whole = columns & ~3;
  const infinite = i32x4.splat(0x7f800000);
  let bad = i32x4.splat(0);
  for (let c: u32 = 0; c < whole; c += 4)
    bad = v128.or(bad, i32x4.eq(v128.and(v128.load(values + (<usize>c << 2)), infinite), infinite));
  for (let c = whole; c < columns; c++)
    if ((load<u32>(values + (<usize>c << 2)) & 0x7f800000) == 0x7f800000) return false;
  return !v128.any_true(bad);
}

/** Larger floats give larger integers. */
@inline
function ordered(v: f32): u32 {
  const bits = reinterpret<u32>(v);
  return bits >= 0x80000000 ? ~bits : bits | 0x80000000;
}

/** The integer forms of the logits, and in place of the logits exp(logit - largest). */
function order(logits: usize, orders: usize, largest: f32, columns: u32): void {
  for (let c: u32 = 0; c < columns; c += 4) {
    const at: usize = <usize>c << 2;
    const v = v128.load(logits + at);
    const negative = i32x4.shr_s(v, 31);
    v128.store(orders + at, v128.xor(v, v128.or(negative, i32x4.splat(0x80000000))));
  }
  scaledExp(logits, logits, 1, largest, columns);
}

/** How much lies at or above a threshold: tokens, or mass. */
function above(orders: usize, masses: usize, least: u32, byMass: bool, columns: u32): f32 {
  const least4 = i32x4.splat(least);
  const whole = columns & ~3;
  let tokens = i32x4.splat(0);
  let mass = f32x4.splat(0);
  for (let c: u32 = 0; c < whole; c += 4) {
    const at: usize = <usize>c << 2;
    const kept = i32x4.ge_u(v128.load(orders + at), least4);
    tokens = i32x4.sub(tokens, kept);
    mass = f32x4.add(mass, v128.and(kept, v128.load(masses + at)));
  }
  let count: u32 =
    i32x4.extract_lane(tokens, 0) + i32x4.extract_lane(tokens, 1) + i32x4.extract_lane(tokens, 2) + i32x4.extract_lane(tokens, 3);
  let total: f64 =
    <f64>f32x4.extract_lane(mass, 0) + f32x4.extract_lane(mass, 1) + f32x4.extract_lane(mass, 2) + f32x4.extract_lane(mass, 3);
  for (let c = whole; c < columns; c++) {
    const at: usize = <usize>c << 2;
    if (load<u32>(orders + at) < least) continue;
    count++;
    total += load<f32>(masses + at);
  }
  return byMass ? <f32>total : <f32>count;
}

/** The largest threshold at or above `least` with at least `wanted` above it. */
function threshold(orders: usize, masses: usize, least: u32, wanted: f32, byMass: bool, columns: u32): u32 {
  let found: u32 = 0;
  for (let bit: u32 = 0x80000000; bit != 0; bit >>= 1) {
    const candidate = found | bit;
    if (above(orders, masses, max(candidate, least), byMass, columns) >= wanted) found = candidate;
  }
  return max(found, least);
}

/** The first kept token at which the running mass passes its random share. */
function chosen(orders: usize, masses: usize, least: u32, random: f32, columns: u32): u32 {
  let total: f64 = 0;
  let first = NONE;
  for (let c: u32 = 0; c < columns; c++) {
    const at: usize = <usize>c << 2;
    if (load<u32>(orders + at) < least) continue;
    total += load<f32>(masses + at);
    if (first == NONE) first = c;
  }
  const aim = total * random;
  let before: f64 = 0;
  for (let c = first; c < columns; c++) {
    const at: usize = <usize>c << 2;
    if (load<u32>(orders + at) < least) continue;
    before += load<f32>(masses + at);
    if (before > aim) return c;
  }
  return first;
}
