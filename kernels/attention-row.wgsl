// Causal self-attention over packed rows qkv [B T, 3 C] for GPUs: see attention.wgsl, which has what is computed.
//   forward          output rows, then the log-sum-exps
//   backward_query   dq of dqkv;  backward_key  its dk;  backward_value  its dv
// One invocation holds one row (a query or a key) of one head in registers and walks over the others, which pass
// through shared memory, several at a time: so many chains of sums are under way, and the forward pass rescales once
// for all of them. Each entry holds three rows at most, which for a head of 64 are 192 registers; what dk and dv both
// need is computed twice, because five rows would not fit.
// FlashAttention-2: https://arxiv.org/abs/2307.08691, algorithms 1 and 2.

struct Params {
  tokens: u32,
  heads: u32,
  lse_offset: u32,
  scale: f32,
}

override SEGMENTS: bool = false;

const WORKGROUP = 64u;
const HEAD = 16u; // vec4s in a head
const ROWS = 16u; // staged at a time, a multiple of four

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> output: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> qkv: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> forward_starts: array<u32>;
@group(0) @binding(3) var<storage, read> packed: array<f32>;
@group(0) @binding(4) var<storage, read> grad: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read> deltas: array<f32>;
@group(0) @binding(6) var<storage, read> starts: array<u32>;

const LOWEST = -3.4028234e38;

var<workgroup> first_tile: array<vec4<f32>, ROWS * HEAD>;
var<workgroup> second_tile: array<vec4<f32>, ROWS * HEAD>;
// Of each query that is staged: its log-sum-exp, its D, and where its document begins.
var<workgroup> lse_tile: array<f32, ROWS>;
var<workgroup> delta_tile: array<f32, ROWS>;
var<workgroup> start_tile: array<u32, ROWS>;

// Where things begin, in vec4s: part 0 is q, 1 is k, 2 is v.
fn qkv_at(batch: u32, head: u32, t: u32, part: u32) -> u32 {
  return (((batch * params.tokens + t) * 3u + part) * params.heads + head) * HEAD;
}

fn row_at(batch: u32, head: u32, t: u32) -> u32 {
  return ((batch * params.tokens + t) * params.heads + head) * HEAD;
}

// Keys and values from row `start` on; behind the last row stands the last one again, which no query sees.
fn stage_keys(batch: u32, head: u32, start: u32, lane: u32) {
  workgroupBarrier();
  for (var i = lane; i < ROWS * HEAD; i += WORKGROUP) {
    let t = min(start + i / HEAD, params.tokens - 1u);
    first_tile[i] = qkv[qkv_at(batch, head, t, 1u) + i % HEAD];
    second_tile[i] = qkv[qkv_at(batch, head, t, 2u) + i % HEAD];
  }
  workgroupBarrier();
}

// Queries and the gradients of their outputs, likewise.
fn stage_queries(group: vec3<u32>, start: u32, lane: u32) {
  let batch = group.y / params.heads;
  let head = group.y % params.heads;
  workgroupBarrier();
  for (var i = lane; i < ROWS * HEAD; i += WORKGROUP) {
    let t = min(start + i / HEAD, params.tokens - 1u);
    first_tile[i] = qkv[qkv_at(batch, head, t, 0u) + i % HEAD];
    second_tile[i] = grad[row_at(batch, head, t) + i % HEAD];
  }
  if (lane < ROWS) {
    let t = min(start + lane, params.tokens - 1u);
    lse_tile[lane] = packed[params.lse_offset + group.y * params.tokens + t];
    delta_tile[lane] = deltas[group.y * params.tokens + t];
    start_tile[lane] = 0u;
    if (SEGMENTS) {
      start_tile[lane] = starts[batch * params.tokens + t];
    }
  }
  workgroupBarrier();
}

fn sum_of(v: vec4<f32>) -> f32 {
  return v.x + v.y + v.z + v.w;
}

@compute @workgroup_size(WORKGROUP)
fn forward(
  @builtin(workgroup_id) id: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let batch = id.y / params.heads;
  let head = id.y % params.heads;
  // Those with most keys to see begin first.
  let first = (groups.x - 1u - id.x) * WORKGROUP;
  let query = first + lane;
  let safe = min(query, params.tokens - 1u);
  let end = min(first + WORKGROUP, params.tokens);

  var q: array<vec4<f32>, HEAD>;
  var sum: array<vec4<f32>, HEAD>;
  let q_at = qkv_at(batch, head, safe, 0u);
  for (var d = 0u; d < HEAD; d++) {
    q[d] = qkv[q_at + d] * params.scale;
  }
  var begin = 0u;
  var mine = 0u;
  if (SEGMENTS) {
    begin = forward_starts[batch * params.tokens + first];
    mine = forward_starts[batch * params.tokens + safe];
  }
  var largest = LOWEST;
  var total = 0.0;
  for (var start = begin; start < end; start += ROWS) {
    stage_keys(batch, head, start, lane);
    for (var j = 0u; j < ROWS; j += 4u) {
      let at = j * HEAD;
      var p0 = vec4(0.0);
      var p1 = vec4(0.0);
      var p2 = vec4(0.0);
      var p3 = vec4(0.0);
      for (var d = 0u; d < HEAD; d++) {
        p0 += q[d] * first_tile[at + d];
        p1 += q[d] * first_tile[at + HEAD + d];
        p2 += q[d] * first_tile[at + 2u * HEAD + d];
        p3 += q[d] * first_tile[at + 3u * HEAD + d];
      }
      // A key that is not seen changes nothing: its weight is zero and the maximum stays.
      let t = vec4(start + j) + vec4(0u, 1u, 2u, 3u);
      let seen = (t <= vec4(safe)) & (t >= vec4(mine));
      let scores = select(vec4(LOWEST), vec4(sum_of(p0), sum_of(p1), sum_of(p2), sum_of(p3)), seen);
      let raised = max(largest, max(max(scores.x, scores.y), max(scores.z, scores.w)));
      let keep = exp(largest - raised);
      let weights = select(vec4(0.0), exp(scores - raised), seen);
      largest = raised;
      total = total * keep + sum_of(weights);
      for (var d = 0u; d < HEAD; d++) {
        sum[d] = sum[d] * keep + weights.x * second_tile[at + d] + weights.y * second_tile[at + HEAD + d] +
          weights.z * second_tile[at + 2u * HEAD + d] + weights.w * second_tile[at + 3u * HEAD + d];
      }
    }
  }
  if (query >= params.tokens) {
    return;
  }
  let row = row_at(batch, head, query);
  for (var d = 0u; d < HEAD; d++) {
    output[row + d] = sum[d] / total;
  }
  let at = params.lse_offset + id.y * params.tokens + query;
  output[at / 4u][at % 4u] = largest + log(total);
}

@compute @workgroup_size(WORKGROUP)
fn backward_query(
  @builtin(workgroup_id) id: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let batch = id.y / params.heads;
  let head = id.y % params.heads;
  let first = (groups.x - 1u - id.x) * WORKGROUP;
  let query = first + lane;
  let safe = min(query, params.tokens - 1u);
  let end = min(first + WORKGROUP, params.tokens);
  let lse = packed[params.lse_offset + id.y * params.tokens + safe];
  let delta = deltas[id.y * params.tokens + safe];

  var q: array<vec4<f32>, HEAD>;
  var d_out: array<vec4<f32>, HEAD>;
  var dq: array<vec4<f32>, HEAD>;
  let q_at = qkv_at(batch, head, safe, 0u);
  let out_at = row_at(batch, head, safe);
  for (var d = 0u; d < HEAD; d++) {
    q[d] = qkv[q_at + d] * params.scale;
    d_out[d] = grad[out_at + d];
  }
  var begin = 0u;
  var mine = 0u;
  if (SEGMENTS) {
    begin = starts[batch * params.tokens + first];
    mine = starts[batch * params.tokens + safe];
  }
  for (var start = begin; start < end; start += ROWS) {
    stage_keys(batch, head, start, lane);
    for (var j = 0u; j < ROWS; j += 2u) {
      let at = j * HEAD;
      var s0 = vec4(0.0);
      var s1 = vec4(0.0);
      var p0 = vec4(0.0);
      var p1 = vec4(0.0);
      for (var d = 0u; d < HEAD; d++) {
        s0 += q[d] * first_tile[at + d];
        s1 += q[d] * first_tile[at + HEAD + d];
        p0 += d_out[d] * second_tile[at + d];
        p1 += d_out[d] * second_tile[at + HEAD + d];
      }
      let t = vec2(start + j, start + j + 1u);
      let seen = (t <= vec2(safe)) & (t >= vec2(mine));
      let weights = select(vec2(0.0), exp(min(vec2(sum_of(s0), sum_of(s1)) - lse, vec2(0.0))), seen);
      let ds = weights * (vec2(sum_of(p0), sum_of(p1)) - delta) * params.scale;
      for (var d = 0u; d < HEAD; d++) {
        dq[d] += ds.x * first_tile[at + d] + ds.y * first_tile[at + HEAD + d];
      }
    }
  }
  if (query >= params.tokens) {
    return;
  }
  for (var d = 0u; d < HEAD; d++) {
    output[q_at + d] = dq[d];
  }
}

// Which of two staged queries see a key: those from it on, of its document.
fn seeing(start: u32, j: u32, key: u32) -> vec2<bool> {
  let t = vec2(start + j, start + j + 1u);
  var seen = (t >= vec2(key)) & (t < vec2(params.tokens));
  if (SEGMENTS) {
    seen = seen & (vec2(start_tile[j], start_tile[j + 1u]) <= vec2(key));
  }
  return seen;
}

@compute @workgroup_size(WORKGROUP)
fn backward_key(@builtin(workgroup_id) id: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let batch = id.y / params.heads;
  let head = id.y % params.heads;
  let key = id.x * WORKGROUP + lane;
  let safe = min(key, params.tokens - 1u);

  var k: array<vec4<f32>, HEAD>;
  var v: array<vec4<f32>, HEAD>;
  var dk: array<vec4<f32>, HEAD>;
  let k_at = qkv_at(batch, head, safe, 1u);
  let v_at = qkv_at(batch, head, safe, 2u);
  for (var d = 0u; d < HEAD; d++) {
    k[d] = qkv[k_at + d] * params.scale;
    v[d] = qkv[v_at + d];
  }
  for (var start = id.x * WORKGROUP; start < params.tokens; start += ROWS) {
    stage_queries(id, start, lane);
    for (var j = 0u; j < ROWS; j += 2u) {
      let at = j * HEAD;
      var s0 = vec4(0.0);
      var s1 = vec4(0.0);
      var p0 = vec4(0.0);
      var p1 = vec4(0.0);
      for (var d = 0u; d < HEAD; d++) {
        s0 += k[d] * first_tile[at + d];
        s1 += k[d] * first_tile[at + HEAD + d];
        p0 += v[d] * second_tile[at + d];
        p1 += v[d] * second_tile[at + HEAD + d];
      }
      let exponents = vec2(sum_of(s0), sum_of(s1)) - vec2(lse_tile[j], lse_tile[j + 1u]);
      let weights = select(vec2(0.0), exp(min(exponents, vec2(0.0))), seeing(start, j, safe));
      let ds = weights * (vec2(sum_of(p0), sum_of(p1)) - vec2(delta_tile[j], delta_tile[j + 1u])) * params.scale;
      for (var d = 0u; d < HEAD; d++) {
        dk[d] += ds.x * first_tile[at + d] + ds.y * first_tile[at + HEAD + d];
      }
    }
  }
  if (key >= params.tokens) {
    return;
  }
  for (var d = 0u; d < HEAD; d++) {
    output[k_at + d] = dk[d];
  }
}

@compute @workgroup_size(WORKGROUP)
fn backward_value(@builtin(workgroup_id) id: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let batch = id.y / params.heads;
  let head = id.y % params.heads;
  let key = id.x * WORKGROUP + lane;
  let safe = min(key, params.tokens - 1u);

  var k: array<vec4<f32>, HEAD>;
  var dv: array<vec4<f32>, HEAD>;
  let k_at = qkv_at(batch, head, safe, 1u);
  for (var d = 0u; d < HEAD; d++) {
    k[d] = qkv[k_at + d] * params.scale;
  }
  for (var start = id.x * WORKGROUP; start < params.tokens; start += ROWS) {
    stage_queries(id, start, lane);
    for (var j = 0u; j < ROWS; j += 4u) {
      let at = j * HEAD;
      var s0 = vec4(0.0);
      var s1 = vec4(0.0);
      var s2 = vec4(0.0);
      var s3 = vec4(0.0);
      for (var d = 0u; d < HEAD; d++) {
        s0 += k[d] * first_tile[at + d];
        s1 += k[d] * first_tile[at + HEAD + d];
        s2 += k[d] * first_tile[at + 2u * HEAD + d];
        s3 += k[d] * first_tile[at + 3u * HEAD + d];
      }
      let lse = vec4(lse_tile[j], lse_tile[j + 1u], lse_tile[j + 2u], lse_tile[j + 3u]);
      let exponents = vec4(sum_of(s0), sum_of(s1), sum_of(s2), sum_of(s3)) - lse;
      let seen = vec4(seeing(start, j, safe), seeing(start, j + 2u, safe));
      let weights = select(vec4(0.0), exp(min(exponents, vec4(0.0))), seen);
      for (var d = 0u; d < HEAD; d++) {
        dv[d] += weights.x * second_tile[at + d] + weights.y * second_tile[at + HEAD + d] +
          weights.z * second_tile[at + 2u * HEAD + d] + weights.w * second_tile[at + 3u * HEAD + d];
      }
    }
  }
  if (key >= params.tokens) {
    return;
  }
  let v_at = qkv_at(batch, head, safe, 2u);
  for (var d = 0u; d < HEAD; d++) {
    output[v_at + d] = dv[d];
  }
}
