// Causal self-attention over packed rows qkv [B T, 3 C] for GPUs, by register tiles: see attention.wgsl, which has
// what is computed. For heads of up to 64 channels and 32 KiB of shared memory; for all others attention.wgsl itself.
//   forward          output rows, then the log-sum-exps
//   backward_query   dq of dqkv;  backward_key  its dk and dv
// A workgroup has 32 rows of one head, queries, and walks over keys, 32 at a time; in backward_key it has keys, and
// walks over queries, 16 at a time. Both pass through shared memory. An invocation computes the scores of its four
// rows y, y + 8, y + 16, y + 24 with those of the others that are x, x + 8 and so on, and of its rows' results the
// quads x and x + 8: what it reads of shared memory counts several times. Scores go from those who make them to those
// who need them through shared memory too, the four rows of one as a vec4.
// FlashAttention-2: https://arxiv.org/abs/2307.08691, algorithms 1 and 2.

struct Params {
  tokens: u32,
  heads: u32,
  lse_offset: u32,
  scale: f32,
}

override SEGMENTS: bool = false;

const HEAD = 16u; // vec4s in a head, 16 at most
const MASK = 7u; // the largest of 0, 1, 3 and 7 such that HEAD is a multiple of one more
const ROWS = 32u;
const KEYS = 32u; // staged at a time
const QUERIES = 16u;
const LANES = 64u;
const LOWEST = -3.4028234e38;

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> output: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> qkv: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> forward_starts: array<u32>;
@group(0) @binding(3) var<storage, read> packed: array<f32>;
@group(0) @binding(4) var<storage, read> grad: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read> deltas: array<f32>;
@group(0) @binding(6) var<storage, read> starts: array<u32>;

// Rows of HEAD quads. Quad d of row r lies at d ^ (r & MASK): so neighbouring rows are in different banks.
var<workgroup> own_first: array<vec4<f32>, ROWS * HEAD>;
var<workgroup> own_second: array<vec4<f32>, ROWS * HEAD>;
// In the forward pass that of keys holds the weights afterwards, in backward_query that of values the gradients of
// scores.
var<workgroup> key_tile: array<vec4<f32>, KEYS * max(HEAD, ROWS / 4u)>;
var<workgroup> value_tile: array<vec4<f32>, KEYS * max(HEAD, ROWS / 4u)>;
var<workgroup> query_tile: array<vec4<f32>, QUERIES * HEAD>;
var<workgroup> grad_tile: array<vec4<f32>, QUERIES * HEAD>;
var<workgroup> weight_tile: array<vec4<f32>, QUERIES * ROWS / 4u>;
var<workgroup> score_tile: array<vec4<f32>, QUERIES * ROWS / 4u>;
var<workgroup> partial: array<vec4<f32>, LANES>;

struct Place {
  batch: u32,
  head: u32,
  first: u32, // of the workgroup's rows
}

fn place_of(id: vec3<u32>, tile: u32) -> Place {
  return Place(id.y / params.heads, id.y % params.heads, tile * ROWS);
}

// Where things begin, in vec4s: part 0 is q, 1 is k, 2 is v. Behind the last row stands the last one again.
fn qkv_at(place: Place, row: u32, part: u32) -> u32 {
  let t = min(row, params.tokens - 1u);
  return (((place.batch * params.tokens + t) * 3u + part) * params.heads + place.head) * HEAD;
}

fn row_at(place: Place, row: u32) -> u32 {
  let t = min(row, params.tokens - 1u);
  return ((place.batch * params.tokens + t) * params.heads + place.head) * HEAD;
}

// Where quad i of rows that follow each other lies in shared memory.
fn swizzled(i: u32) -> u32 {
  let row = i / HEAD;
  return row * HEAD + ((i % HEAD) ^ (row & MASK));
}

// Where the scores of the workgroup's rows y, y + 8, ... with another row lie.
fn score_at(other: u32, y: u32) -> u32 {
  return other * (ROWS / 4u) + (y ^ (other & 7u));
}

fn stage_keys(place: Place, start: u32, lane: u32) {
  for (var i = lane; i < KEYS * HEAD; i += LANES) {
    key_tile[swizzled(i)] = qkv[qkv_at(place, start + i / HEAD, 1u) + i % HEAD];
    value_tile[swizzled(i)] = qkv[qkv_at(place, start + i / HEAD, 2u) + i % HEAD];
  }
}

fn stage_queries(place: Place, start: u32, lane: u32) {
  for (var i = lane; i < QUERIES * HEAD; i += LANES) {
    query_tile[swizzled(i)] = qkv[qkv_at(place, start + i / HEAD, 0u) + i % HEAD];
    grad_tile[swizzled(i)] = grad[row_at(place, start + i / HEAD) + i % HEAD];
  }
}

// Its four rows.
fn rows_of(place: Place, y: u32) -> vec4<u32> {
  return vec4(place.first + y) + vec4(0u, 8u, 16u, 24u);
}

fn is_there(row: u32, quad: u32) -> bool {
  return row < params.tokens && quad < HEAD;
}

// The first key that each of these queries sees.
fn starts_of(place: Place, queries: vec4<u32>) -> vec4<u32> {
  let t = place.batch * params.tokens + min(queries, vec4(params.tokens - 1u));
  return vec4(starts[t.x], starts[t.y], starts[t.z], starts[t.w]);
}

fn forward_starts_of(place: Place, queries: vec4<u32>) -> vec4<u32> {
  let t = place.batch * params.tokens + min(queries, vec4(params.tokens - 1u));
  return vec4(forward_starts[t.x], forward_starts[t.y], forward_starts[t.z], forward_starts[t.w]);
}

fn sees(queries: vec4<u32>, mine: vec4<u32>, key: u32) -> vec4<bool> {
  return (vec4(key) <= queries) & (vec4(key) >= mine) & vec4(key < params.tokens);
}

@compute @workgroup_size(LANES)
fn forward(
  @builtin(workgroup_id) id: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  // Those with most keys to see begin first.
  let place = place_of(id, groups.x - 1u - id.x);
  let x = lane % 8u;
  let y = lane / 8u;
  let queries = rows_of(place, y);
  let end = min(place.first + ROWS, params.tokens);
  let quads = min(vec2(x, x + 8u), vec2(HEAD - 1u));
  for (var i = lane; i < ROWS * HEAD; i += LANES) {
    own_first[swizzled(i)] = qkv[qkv_at(place, place.first + i / HEAD, 0u) + i % HEAD] * params.scale;
  }
  var begin = 0u;
  var mine = vec4(0u);
  if (SEGMENTS) {
    begin = forward_starts[place.batch * params.tokens + place.first];
    mine = forward_starts_of(place, queries);
  }
  var largest = vec4(LOWEST);
  var total = vec4(0.0);
  var o00 = vec4(0.0);
  var o01 = vec4(0.0);
  var o10 = vec4(0.0);
  var o11 = vec4(0.0);
  var o20 = vec4(0.0);
  var o21 = vec4(0.0);
  var o30 = vec4(0.0);
  var o31 = vec4(0.0);
  for (var start = begin; start < end; start += KEYS) {
    workgroupBarrier();
    stage_keys(place, start, lane);
    workgroupBarrier();
    var s0 = vec4(0.0);
    var s1 = vec4(0.0);
    var s2 = vec4(0.0);
    var s3 = vec4(0.0);
    for (var d = 0u; d < HEAD; d++) {
      let own = y * HEAD + (d ^ (y & MASK));
      let other = x * HEAD + (d ^ (x & MASK));
      let a0 = own_first[own];
      let a1 = own_first[own + 8u * HEAD];
      let a2 = own_first[own + 16u * HEAD];
      let a3 = own_first[own + 24u * HEAD];
      let b0 = key_tile[other];
      let b1 = key_tile[other + 8u * HEAD];
      let b2 = key_tile[other + 16u * HEAD];
      let b3 = key_tile[other + 24u * HEAD];
      let ax = vec4(a0.x, a1.x, a2.x, a3.x);
      let ay = vec4(a0.y, a1.y, a2.y, a3.y);
      let az = vec4(a0.z, a1.z, a2.z, a3.z);
      let aw = vec4(a0.w, a1.w, a2.w, a3.w);
      s0 += ax * b0.x;
      s0 += ay * b0.y;
      s0 += az * b0.z;
      s0 += aw * b0.w;
      s1 += ax * b1.x;
      s1 += ay * b1.y;
      s1 += az * b1.z;
      s1 += aw * b1.w;
      s2 += ax * b2.x;
      s2 += ay * b2.y;
      s2 += az * b2.z;
      s2 += aw * b2.w;
      s3 += ax * b3.x;
      s3 += ay * b3.y;
      s3 += az * b3.z;
      s3 += aw * b3.w;
    }
    let key = start + x;
    let seen0 = sees(queries, mine, key);
    let seen1 = sees(queries, mine, key + 8u);
    let seen2 = sees(queries, mine, key + 16u);
    let seen3 = sees(queries, mine, key + 24u);
    s0 = select(vec4(LOWEST), s0, seen0);
    s1 = select(vec4(LOWEST), s1, seen1);
    s2 = select(vec4(LOWEST), s2, seen2);
    s3 = select(vec4(LOWEST), s3, seen3);
    // The largest of each row, of all who have keys of it.
    partial[x * 8u + y] = max(max(s0, s1), max(s2, s3));
    workgroupBarrier();
    var raised = largest;
    for (var i = 0u; i < 8u; i++) {
      raised = max(raised, partial[i * 8u + y]);
    }
    let keep = exp(largest - raised);
    largest = raised;
    // A key that is not seen changes nothing: its weight is zero.
    let w0 = select(vec4(0.0), exp(s0 - raised), seen0);
    let w1 = select(vec4(0.0), exp(s1 - raised), seen1);
    let w2 = select(vec4(0.0), exp(s2 - raised), seen2);
    let w3 = select(vec4(0.0), exp(s3 - raised), seen3);
    total = total * keep + (w0 + w1 + w2 + w3);
    key_tile[score_at(x, y)] = w0;
    key_tile[score_at(x + 8u, y)] = w1;
    key_tile[score_at(x + 16u, y)] = w2;
    key_tile[score_at(x + 24u, y)] = w3;
    workgroupBarrier();
    o00 *= keep.x;
    o01 *= keep.x;
    o10 *= keep.y;
    o11 *= keep.y;
    o20 *= keep.z;
    o21 *= keep.z;
    o30 *= keep.w;
    o31 *= keep.w;
    for (var k = 0u; k < KEYS; k++) {
      let w = key_tile[score_at(k, y)];
      let v0 = value_tile[k * HEAD + (quads.x ^ (k & MASK))];
      let v1 = value_tile[k * HEAD + (quads.y ^ (k & MASK))];
      o00 += w.x * v0;
      o01 += w.x * v1;
      o10 += w.y * v0;
      o11 += w.y * v1;
      o20 += w.z * v0;
      o21 += w.z * v1;
      o30 += w.w * v0;
      o31 += w.w * v1;
    }
  }
  workgroupBarrier();
  partial[x * 8u + y] = total;
  workgroupBarrier();
  var sum = vec4(0.0);
  for (var i = 0u; i < 8u; i++) {
    sum += partial[i * 8u + y];
  }
  store(place, queries.x, x, o00 / sum.x, o01 / sum.x);
  store(place, queries.y, x, o10 / sum.y, o11 / sum.y);
  store(place, queries.z, x, o20 / sum.z, o21 / sum.z);
  store(place, queries.w, x, o30 / sum.w, o31 / sum.w);
  if (x == 0u) {
    let lse = largest + log(sum);
    store_lse(id.y, queries.x, lse.x);
    store_lse(id.y, queries.y, lse.y);
    store_lse(id.y, queries.z, lse.z);
    store_lse(id.y, queries.w, lse.w);
  }
}

fn store(place: Place, row: u32, x: u32, first: vec4<f32>, second: vec4<f32>) {
  let at = row_at(place, row) + x;
  if (is_there(row, x)) {
    output[at] = first;
  }
  if (is_there(row, x + 8u)) {
    output[at + 8u] = second;
  }
}

fn store_part(place: Place, part: u32, row: u32, x: u32, first: vec4<f32>, second: vec4<f32>) {
  let at = qkv_at(place, row, part) + x;
  if (is_there(row, x)) {
    output[at] = first;
  }
  if (is_there(row, x + 8u)) {
    output[at + 8u] = second;
  }
}

fn store_lse(sequence: u32, query: u32, value: f32) {
  if (query < params.tokens) {
    let at = params.lse_offset + sequence * params.tokens + query;
    output[at / 4u][at % 4u] = value;
  }
}

@compute @workgroup_size(LANES)
fn backward_query(
  @builtin(workgroup_id) id: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let place = place_of(id, groups.x - 1u - id.x);
  let x = lane % 8u;
  let y = lane / 8u;
  let queries = rows_of(place, y);
  let end = min(place.first + ROWS, params.tokens);
  let quads = min(vec2(x, x + 8u), vec2(HEAD - 1u));
  for (var i = lane; i < ROWS * HEAD; i += LANES) {
    own_first[swizzled(i)] = qkv[qkv_at(place, place.first + i / HEAD, 0u) + i % HEAD] * params.scale;
    own_second[swizzled(i)] = grad[row_at(place, place.first + i / HEAD) + i % HEAD];
  }
  let t = id.y * params.tokens + min(queries, vec4(params.tokens - 1u));
  let l = t + params.lse_offset;
  let lse = vec4(packed[l.x], packed[l.y], packed[l.z], packed[l.w]);
  let delta = vec4(deltas[t.x], deltas[t.y], deltas[t.z], deltas[t.w]);
  var begin = 0u;
  var mine = vec4(0u);
  if (SEGMENTS) {
    begin = starts[place.batch * params.tokens + place.first];
    mine = starts_of(place, queries);
  }
  var o00 = vec4(0.0);
  var o01 = vec4(0.0);
  var o10 = vec4(0.0);
  var o11 = vec4(0.0);
  var o20 = vec4(0.0);
  var o21 = vec4(0.0);
  var o30 = vec4(0.0);
  var o31 = vec4(0.0);
  for (var start = begin; start < end; start += KEYS) {
    workgroupBarrier();
    stage_keys(place, start, lane);
    workgroupBarrier();
    var s0 = vec4(0.0);
    var s1 = vec4(0.0);
    var s2 = vec4(0.0);
    var s3 = vec4(0.0);
    var p0 = vec4(0.0);
    var p1 = vec4(0.0);
    var p2 = vec4(0.0);
    var p3 = vec4(0.0);
    for (var d = 0u; d < HEAD; d++) {
      let own = y * HEAD + (d ^ (y & MASK));
      let other = x * HEAD + (d ^ (x & MASK));
      let a0 = own_first[own];
      let a1 = own_first[own + 8u * HEAD];
      let a2 = own_first[own + 16u * HEAD];
      let a3 = own_first[own + 24u * HEAD];
      let b0 = key_tile[other];
      let b1 = key_tile[other + 8u * HEAD];
      let b2 = key_tile[other + 16u * HEAD];
      let b3 = key_tile[other + 24u * HEAD];
      let ax = vec4(a0.x, a1.x, a2.x, a3.x);
      let ay = vec4(a0.y, a1.y, a2.y, a3.y);
      let az = vec4(a0.z, a1.z, a2.z, a3.z);
      let aw = vec4(a0.w, a1.w, a2.w, a3.w);
      s0 += ax * b0.x;
      s0 += ay * b0.y;
      s0 += az * b0.z;
      s0 += aw * b0.w;
      s1 += ax * b1.x;
      s1 += ay * b1.y;
      s1 += az * b1.z;
      s1 += aw * b1.w;
      s2 += ax * b2.x;
      s2 += ay * b2.y;
      s2 += az * b2.z;
      s2 += aw * b2.w;
      s3 += ax * b3.x;
      s3 += ay * b3.y;
      s3 += az * b3.z;
      s3 += aw * b3.w;
      let g0 = own_second[own];
      let g1 = own_second[own + 8u * HEAD];
      let g2 = own_second[own + 16u * HEAD];
      let g3 = own_second[own + 24u * HEAD];
      let v0 = value_tile[other];
      let v1 = value_tile[other + 8u * HEAD];
      let v2 = value_tile[other + 16u * HEAD];
      let v3 = value_tile[other + 24u * HEAD];
      let gx = vec4(g0.x, g1.x, g2.x, g3.x);
      let gy = vec4(g0.y, g1.y, g2.y, g3.y);
      let gz = vec4(g0.z, g1.z, g2.z, g3.z);
      let gw = vec4(g0.w, g1.w, g2.w, g3.w);
      p0 += gx * v0.x;
      p0 += gy * v0.y;
      p0 += gz * v0.z;
      p0 += gw * v0.w;
      p1 += gx * v1.x;
      p1 += gy * v1.y;
      p1 += gz * v1.z;
      p1 += gw * v1.w;
      p2 += gx * v2.x;
      p2 += gy * v2.y;
      p2 += gz * v2.z;
      p2 += gw * v2.w;
      p3 += gx * v3.x;
      p3 += gy * v3.y;
      p3 += gz * v3.z;
      p3 += gw * v3.w;
    }
    let key = start + x;
    let ds0 = gradient_of(s0 - lse, p0 - delta, sees(queries, mine, key));
    let ds1 = gradient_of(s1 - lse, p1 - delta, sees(queries, mine, key + 8u));
    let ds2 = gradient_of(s2 - lse, p2 - delta, sees(queries, mine, key + 16u));
    let ds3 = gradient_of(s3 - lse, p3 - delta, sees(queries, mine, key + 24u));
    workgroupBarrier();
    value_tile[score_at(x, y)] = ds0;
    value_tile[score_at(x + 8u, y)] = ds1;
    value_tile[score_at(x + 16u, y)] = ds2;
    value_tile[score_at(x + 24u, y)] = ds3;
    workgroupBarrier();
    for (var k = 0u; k < KEYS; k++) {
      let w = value_tile[score_at(k, y)];
      let v0 = key_tile[k * HEAD + (quads.x ^ (k & MASK))];
      let v1 = key_tile[k * HEAD + (quads.y ^ (k & MASK))];
      o00 += w.x * v0;
      o01 += w.x * v1;
      o10 += w.y * v0;
      o11 += w.y * v1;
      o20 += w.z * v0;
      o21 += w.z * v1;
      o30 += w.w * v0;
      o31 += w.w * v1;
    }
  }
  store_part(place, 0u, queries.x, x, o00, o01);
  store_part(place, 0u, queries.y, x, o10, o11);
  store_part(place, 0u, queries.z, x, o20, o21);
  store_part(place, 0u, queries.w, x, o30, o31);
}

// exp(s - lse) where it counts. Rounding may put a score above its row's log-sum-exp.
fn weight_of(exponent: vec4<f32>, seen: vec4<bool>) -> vec4<f32> {
  return select(vec4(0.0), exp(min(exponent, vec4(0.0))), seen);
}

fn gradient_of(exponent: vec4<f32>, product: vec4<f32>, seen: vec4<bool>) -> vec4<f32> {
  return weight_of(exponent, seen) * product * params.scale;
}

@compute @workgroup_size(LANES)
fn backward_key(@builtin(workgroup_id) id: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let place = place_of(id, id.x);
  let x = lane % 8u;
  let y = lane / 8u;
  let keys = rows_of(place, y);
  let quads = min(vec2(x, x + 8u), vec2(HEAD - 1u));
  for (var i = lane; i < ROWS * HEAD; i += LANES) {
    own_first[swizzled(i)] = qkv[qkv_at(place, place.first + i / HEAD, 1u) + i % HEAD] * params.scale;
    own_second[swizzled(i)] = qkv[qkv_at(place, place.first + i / HEAD, 2u) + i % HEAD];
  }
  var k00 = vec4(0.0);
  var k01 = vec4(0.0);
  var k10 = vec4(0.0);
  var k11 = vec4(0.0);
  var k20 = vec4(0.0);
  var k21 = vec4(0.0);
  var k30 = vec4(0.0);
  var k31 = vec4(0.0);
  var o00 = vec4(0.0);
  var o01 = vec4(0.0);
  var o10 = vec4(0.0);
  var o11 = vec4(0.0);
  var o20 = vec4(0.0);
  var o21 = vec4(0.0);
  var o30 = vec4(0.0);
  var o31 = vec4(0.0);
  for (var start = place.first; start < params.tokens; start += QUERIES) {
    workgroupBarrier();
    stage_queries(place, start, lane);
    workgroupBarrier();
    var s0 = vec4(0.0);
    var s1 = vec4(0.0);
    var p0 = vec4(0.0);
    var p1 = vec4(0.0);
    for (var d = 0u; d < HEAD; d++) {
      let own = y * HEAD + (d ^ (y & MASK));
      let other = x * HEAD + (d ^ (x & MASK));
      let a0 = own_first[own];
      let a1 = own_first[own + 8u * HEAD];
      let a2 = own_first[own + 16u * HEAD];
      let a3 = own_first[own + 24u * HEAD];
      let b0 = query_tile[other];
      let b1 = query_tile[other + 8u * HEAD];
      let ax = vec4(a0.x, a1.x, a2.x, a3.x);
      let ay = vec4(a0.y, a1.y, a2.y, a3.y);
      let az = vec4(a0.z, a1.z, a2.z, a3.z);
      let aw = vec4(a0.w, a1.w, a2.w, a3.w);
      s0 += ax * b0.x;
      s0 += ay * b0.y;
      s0 += az * b0.z;
      s0 += aw * b0.w;
      s1 += ax * b1.x;
      s1 += ay * b1.y;
      s1 += az * b1.z;
      s1 += aw * b1.w;
      let g0 = own_second[own];
      let g1 = own_second[own + 8u * HEAD];
      let g2 = own_second[own + 16u * HEAD];
      let g3 = own_second[own + 24u * HEAD];
      let v0 = grad_tile[other];
      let v1 = grad_tile[other + 8u * HEAD];
      let gx = vec4(g0.x, g1.x, g2.x, g3.x);
      let gy = vec4(g0.y, g1.y, g2.y, g3.y);
      let gz = vec4(g0.z, g1.z, g2.z, g3.z);
      let gw = vec4(g0.w, g1.w, g2.w, g3.w);
      p0 += gx * v0.x;
      p0 += gy * v0.y;
      p0 += gz * v0.z;
      p0 += gw * v0.w;
      p1 += gx * v1.x;
      p1 += gy * v1.y;
      p1 += gz * v1.z;
      p1 += gw * v1.w;
    }
    for (var j = 0u; j < 2u; j++) {
      let query = start + x + 8u * j;
      let t = id.y * params.tokens + min(query, params.tokens - 1u);
      var mine = 0u;
      if (SEGMENTS) {
        mine = starts[place.batch * params.tokens + min(query, params.tokens - 1u)];
      }
      let seen = (keys <= vec4(query)) & (keys >= vec4(mine)) & vec4(query < params.tokens);
      let exponent = select(s0, s1, j == 1u) - packed[params.lse_offset + t];
      let weight = weight_of(exponent, seen);
      weight_tile[score_at(x + 8u * j, y)] = weight;
      score_tile[score_at(x + 8u * j, y)] = weight * (select(p0, p1, j == 1u) - deltas[t]) * params.scale;
    }
    workgroupBarrier();
    for (var q = 0u; q < QUERIES; q++) {
      let w = weight_tile[score_at(q, y)];
      let v0 = grad_tile[q * HEAD + (quads.x ^ (q & MASK))];
      let v1 = grad_tile[q * HEAD + (quads.y ^ (q & MASK))];
      o00 += w.x * v0;
      o01 += w.x * v1;
      o10 += w.y * v0;
      o11 += w.y * v1;
      o20 += w.z * v0;
      o21 += w.z * v1;
      o30 += w.w * v0;
      o31 += w.w * v1;
      let ds = score_tile[score_at(q, y)];
      let q0 = query_tile[q * HEAD + (quads.x ^ (q & MASK))];
      let q1 = query_tile[q * HEAD + (quads.y ^ (q & MASK))];
      k00 += ds.x * q0;
      k01 += ds.x * q1;
      k10 += ds.y * q0;
      k11 += ds.y * q1;
      k20 += ds.z * q0;
      k21 += ds.z * q1;
      k30 += ds.w * q0;
      k31 += ds.w * q1;
    }
  }
  store_part(place, 1u, keys.x, x, k00, k01);
  store_part(place, 1u, keys.y, x, k10, k11);
  store_part(place, 1u, keys.z, x, k20, k21);
  store_part(place, 1u, keys.w, x, k30, k31);
  store_part(place, 2u, keys.x, x, o00, o01);
  store_part(place, 2u, keys.y, x, o10, o11);
  store_part(place, 2u, keys.z, x, o20, o21);
  store_part(place, 2u, keys.w, x, o30, o31);
}
