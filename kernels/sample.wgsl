// Drawing the next token of each row of logits [R, V]. One workgroup serves one row. Counts and bias [S, V], and
// settings [S, 7], are those of the row's slot. streams [R, 3] has the slot, the seed and the counter; a slot past the
// last is none.
//   forward   repetition, presence and frequency penalties, bias, temperature, top-k, top-p, min-p, then one draw;
//             temperature 0 takes the likeliest. A row with a logit that is not finite, before or after that, has no
//             token: NOT_FINITE stands in its place.
//             Each filter is a threshold on the logits: the k-th largest, or the largest at which the mass above is
//             still p. Thresholds are found bit by bit on the order-preserving integer form of a float: nothing is
//             sorted.
// settings: temperature, top_k, top_p, min_p, repetition, presence and frequency penalty. A count has the prompt's
// tokens in its low 16 bits and the written ones in its high 16. The draw is a function of (seed, counter).

struct Params {
  rows: u32,
  columns: u32,
  slots: u32,
}

override LANES: u32 = 256;

const NOT_FINITE = 0xffffffffu;

const TEMPERATURE = 0u;
const TOP_K = 1u;
const TOP_P = 2u;
const MIN_P = 3u;
const PENALTY = 4u;
const PRESENCE = 5u;
const FREQUENCY = 6u;

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> output: array<u32>;
@group(0) @binding(2) var<storage, read> logits: array<f32>;
@group(0) @binding(3) var<storage, read> counts: array<u32>;
@group(0) @binding(4) var<storage, read> settings: array<f32>;
@group(0) @binding(5) var<storage, read> bias: array<f32>;
@group(0) @binding(6) var<storage, read> streams: array<u32>;

var<workgroup> floats: array<f32, LANES>;
var<workgroup> integers: array<u32, LANES>;

fn pcg(v: u32) -> u32 {
  let state = v * 747796405u + 2891336453u;
  let word = ((state >> ((state >> 28u) + 4u)) ^ state) * 277803737u;
  return (word >> 22u) ^ word;
}

// Larger floats give larger integers.
fn ordered(v: f32) -> u32 {
  let bits = bitcast<u32>(v);
  return select(bits | 0x80000000u, ~bits, bits >= 0x80000000u);
}

// The slot of a row; for rows of none, any that is there.
fn slot_of(row: u32) -> u32 {
  return min(streams[3u * row], params.slots - 1u);
}

fn setting(row: u32, which: u32) -> f32 {
  return settings[7u * slot_of(row) + which];
}

// The logit after penalties, bias and temperature.
fn logit(row: u32, c: u32) -> f32 {
  let at = slot_of(row) * params.columns + c;
  var v = logits[row * params.columns + c];
  if (counts[at] > 0u) {
    let penalty = setting(row, PENALTY);
    v = select(v * penalty, v / penalty, v > 0.0);
  }
  let written = f32(counts[at] >> 16u);
  v += bias[at] - setting(row, FREQUENCY) * written - select(0.0, setting(row, PRESENCE), written > 0.0);
  let temperature = setting(row, TEMPERATURE);
  return v / select(1.0, temperature, temperature > 0.0);
}

// By the bits, since a compiler may take it that no float is otherwise.
fn is_finite(v: f32) -> bool {
  return (bitcast<u32>(v) & 0x7f800000u) != 0x7f800000u;
}

fn sum_of(value: f32, lane: u32) -> f32 {
  workgroupBarrier();
  floats[lane] = value;
  for (var step = LANES / 2; step > 0; step /= 2) {
    workgroupBarrier();
    if (lane < step) {
      floats[lane] += floats[lane + step];
    }
  }
  return workgroupUniformLoad(&floats[0]);
}

fn max_of(value: f32, lane: u32) -> f32 {
  workgroupBarrier();
  floats[lane] = value;
  for (var step = LANES / 2; step > 0; step /= 2) {
    workgroupBarrier();
    if (lane < step) {
      floats[lane] = max(floats[lane], floats[lane + step]);
    }
  }
  return workgroupUniformLoad(&floats[0]);
}

fn min_of(value: u32, lane: u32) -> u32 {
  workgroupBarrier();
  integers[lane] = value;
  for (var step = LANES / 2; step > 0; step /= 2) {
    workgroupBarrier();
    if (lane < step) {
      integers[lane] = min(integers[lane], integers[lane + step]);
    }
  }
  return workgroupUniformLoad(&integers[0]);
}

// How much lies at or above a threshold: tokens, or mass exp(logit - largest).
fn above(row: u32, lane: u32, least: u32, largest: f32, by_mass: bool) -> f32 {
  var total = 0.0;
  for (var c = lane; c < params.columns; c += LANES) {
    let v = logit(row, c);
    if (ordered(v) >= least) {
      total += select(1.0, exp(v - largest), by_mass);
    }
  }
  return sum_of(total, lane);
}

// The largest threshold at or above `least` with at least `wanted` above it.
fn threshold(row: u32, lane: u32, least: u32, largest: f32, wanted: f32, by_mass: bool) -> u32 {
  var found = 0u;
  for (var i = 0u; i < 32u; i++) {
    let candidate = found | (0x80000000u >> i);
    if (above(row, lane, max(candidate, least), largest, by_mass) >= wanted) {
      found = candidate;
    }
  }
  return max(found, least);
}

@compute @workgroup_size(LANES)
fn forward(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
  let row = group.x;
  let lane = local.x;
  var largest = -3.4028234e38;
  var healthy = 1u;
  for (var c = lane; c < params.columns; c += LANES) {
    let v = logit(row, c);
    if (!is_finite(v) || !is_finite(logits[row * params.columns + c])) {
      healthy = 0u;
    }
    largest = max(largest, v);
  }
  largest = max_of(largest, lane);
  healthy = min_of(healthy, lane);

  var least = 0u;
  let top_k = setting(row, TOP_K);
  if (top_k > 0.0 && top_k < f32(params.columns)) {
    least = threshold(row, lane, least, largest, top_k, false);
  }
  if (setting(row, TOP_P) < 1.0) {
    let mass = above(row, lane, least, largest, true);
    least = threshold(row, lane, least, largest, setting(row, TOP_P) * mass, true);
  }
  if (setting(row, MIN_P) > 0.0) {
    least = max(least, ordered(largest + log(setting(row, MIN_P))));
  }
  if (setting(row, TEMPERATURE) <= 0.0) {
    least = ordered(largest);
  }
  least = min(least, ordered(largest));

  // Each lane sums a run of neighbouring tokens, so that the draw goes through the vocabulary in order.
  let run = (params.columns + LANES - 1) / LANES;
  let first = lane * run;
  let end = min(first + run, params.columns);
  var mine = 0.0;
  var last = 0xffffffffu;
  for (var c = first; c < end; c++) {
    let v = logit(row, c);
    if (ordered(v) >= least) {
      mine += exp(v - largest);
      last = min(last, c);
    }
  }
  let likeliest = min_of(last, lane);
  let total = sum_of(mine, lane);
  workgroupBarrier();
  floats[lane] = mine;
  workgroupBarrier();
  var before = 0.0;
  for (var i = 0u; i < lane; i++) {
    before += floats[i];
  }
  let random = f32(pcg(streams[3u * row + 2u] + pcg(pcg(streams[3u * row + 1u]))) >> 8u) / 16777216.0;
  let aim = random * total;

  // The first kept token whose running sum passes the aim.
  var drawn = 0xffffffffu;
  for (var c = first; c < end; c++) {
    let v = logit(row, c);
    if (ordered(v) >= least) {
      before += exp(v - largest);
      if (before > aim && drawn == 0xffffffffu) {
        drawn = c;
      }
    }
  }
  let token = min_of(drawn, lane);
  if (lane == 0u) {
    let drawn_token = select(token, likeliest, setting(row, TEMPERATURE) <= 0.0 || token == 0xffffffffu);
    let told = select(NOT_FINITE, drawn_token, healthy == 1u);
    output[row] = select(0u, told, streams[3u * row] < params.slots);
  }
}
