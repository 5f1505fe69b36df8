// Causal self-attention over packed rows qkv [B T, 3 C], with an online softmax: no T x T matrix is stored.
//   forward    output = [B T, C] rows of softmax(scale q k) v, then at `lse_offset` the log-sum-exps [B H, T].
//   backward   dqkv [B T, 3 C]; workgroups with z = 0 compute dq, those with z = 1 compute dk and dv.
//              D = dO . O from attention-delta,  p = exp(s - lse),  ds = p (dO v - D) scale
//              dq = ds k,  dk = ds q,  dv = p dO
// With SEGMENTS a row holds several documents one after another: starts[B T] says where in its row the document of each
// query begins, and a query sees no key before that.
// One invocation holds one row (a query, or for dk and dv a key) of one head in registers and walks over the others.
// The rows it walks over are the same for a whole workgroup: with STAGED they pass through shared memory.
// FlashAttention-2: https://arxiv.org/abs/2307.08691, algorithms 1 and 2.

struct Params {
  tokens: u32,
  heads: u32,
  lse_offset: u32,
  scale: f32,
}

override WORKGROUP: u32 = 64;
override STAGED: bool = true;
override SEGMENTS: bool = false;

const HEAD = 16u; // vec4s in a head
const KEYS = 16u; // rows staged at a time

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> output: array<f32>;
@group(0) @binding(2) var<storage, read> qkv: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> forward_starts: array<u32>;
@group(0) @binding(3) var<storage, read> packed: array<f32>;
@group(0) @binding(4) var<storage, read> grad: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read> deltas: array<f32>;
@group(0) @binding(6) var<storage, read> starts: array<u32>;

var<workgroup> first_tile: array<vec4<f32>, KEYS * HEAD>;
var<workgroup> second_tile: array<vec4<f32>, KEYS * HEAD>;

// Where things begin, in vec4s: part 0 is q, 1 is k, 2 is v.
fn qkv_at(batch: u32, head: u32, t: u32, part: u32) -> u32 {
  return (((batch * params.tokens + t) * 3u + part) * params.heads + head) * HEAD;
}

fn row_at(batch: u32, head: u32, t: u32) -> u32 {
  return ((batch * params.tokens + t) * params.heads + head) * HEAD;
}

@compute @workgroup_size(WORKGROUP)
fn forward(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
  let batch = group.y / params.heads;
  let head = group.y % params.heads;
  let query = group.x * WORKGROUP + local.x;
  let safe = min(query, params.tokens - 1u);
  let end = min((group.x + 1u) * WORKGROUP, params.tokens);

  var q: array<vec4<f32>, HEAD>;
  var sum: array<vec4<f32>, HEAD>;
  let q_at = qkv_at(batch, head, safe, 0u);
  for (var d = 0u; d < HEAD; d++) {
    q[d] = qkv[q_at + d] * params.scale;
  }
  var begin = 0u;
  var mine = 0u;
  if (SEGMENTS) {
    begin = forward_starts[batch * params.tokens + min(group.x * WORKGROUP, params.tokens - 1u)];
    mine = forward_starts[batch * params.tokens + safe];
  }
  var largest = -3.4028234e38;
  var total = 0.0;
  for (var start = begin; start < end; start += KEYS) {
    if (STAGED) {
      workgroupBarrier();
      for (var i = local.x; i < KEYS * HEAD; i += WORKGROUP) {
        let t = min(start + i / HEAD, params.tokens - 1u);
        first_tile[i] = qkv[qkv_at(batch, head, t, 1u) + i % HEAD];
        second_tile[i] = qkv[qkv_at(batch, head, t, 2u) + i % HEAD];
      }
      workgroupBarrier();
    }
    let count = min(KEYS, end - start);
    for (var j = 0u; j < count; j++) {
      let t = start + j;
      let k_at = qkv_at(batch, head, t, 1u);
      let v_at = qkv_at(batch, head, t, 2u);
      var products = vec4(0.0);
      for (var d = 0u; d < HEAD; d++) {
        if (STAGED) {
          products += q[d] * first_tile[j * HEAD + d];
        } else {
          products += q[d] * qkv[k_at + d];
        }
      }
      // A key after the query changes nothing: its weight is zero and the maximum stays.
      let seen = t <= safe && t >= mine;
      let score = dot(products, vec4(1.0));
      let raised = select(largest, max(largest, score), seen);
      let keep = exp(largest - raised);
      let weight = select(0.0, exp(min(score - raised, 0.0)), seen);
      largest = raised;
      total = total * keep + weight;
      for (var d = 0u; d < HEAD; d++) {
        if (STAGED) {
          sum[d] = sum[d] * keep + weight * second_tile[j * HEAD + d];
        } else {
          sum[d] = sum[d] * keep + weight * qkv[v_at + d];
        }
      }
    }
  }
  if (query >= params.tokens) {
    return;
  }
  let at = 4u * row_at(batch, head, query);
  for (var d = 0u; d < HEAD; d++) {
    let value = sum[d] / total;
    output[at + 4u * d] = value.x;
    output[at + 4u * d + 1u] = value.y;
    output[at + 4u * d + 2u] = value.z;
    output[at + 4u * d + 3u] = value.w;
  }
  output[params.lse_offset + group.y * params.tokens + query] = largest + log(total);
}

fn store(at: u32, value: vec4<f32>) {
  output[4u * at] = value.x;
  output[4u * at + 1u] = value.y;
  output[4u * at + 2u] = value.z;
  output[4u * at + 3u] = value.w;
}

fn backward_query(group: vec3<u32>, local: u32) {
  let batch = group.y / params.heads;
  let head = group.y % params.heads;
  let query = group.x * WORKGROUP + local;
  let safe = min(query, params.tokens - 1u);
  let end = min((group.x + 1u) * WORKGROUP, params.tokens);
  let lse = packed[params.lse_offset + group.y * params.tokens + safe];
  let d_row = deltas[group.y * params.tokens + safe];

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
    begin = starts[batch * params.tokens + min(group.x * WORKGROUP, params.tokens - 1u)];
    mine = starts[batch * params.tokens + safe];
  }
  for (var start = begin; start < end; start += KEYS) {
    if (STAGED) {
      workgroupBarrier();
      for (var i = local; i < KEYS * HEAD; i += WORKGROUP) {
        let t = min(start + i / HEAD, params.tokens - 1u);
        first_tile[i] = qkv[qkv_at(batch, head, t, 1u) + i % HEAD];
        second_tile[i] = qkv[qkv_at(batch, head, t, 2u) + i % HEAD];
      }
      workgroupBarrier();
    }
    let count = min(KEYS, end - start);
    for (var j = 0u; j < count; j++) {
      let k_at = qkv_at(batch, head, start + j, 1u);
      let v_at = qkv_at(batch, head, start + j, 2u);
      var scores = vec4(0.0);
      var products = vec4(0.0);
      for (var d = 0u; d < HEAD; d++) {
        if (STAGED) {
          scores += q[d] * first_tile[j * HEAD + d];
          products += d_out[d] * second_tile[j * HEAD + d];
        } else {
          scores += q[d] * qkv[k_at + d];
          products += d_out[d] * qkv[v_at + d];
        }
      }
      let seen = start + j <= safe && start + j >= mine;
      let weight = select(0.0, exp(min(dot(scores, vec4(1.0)) - lse, 0.0)), seen);
      let ds = weight * (dot(products, vec4(1.0)) - d_row) * params.scale;
      for (var d = 0u; d < HEAD; d++) {
        if (STAGED) {
          dq[d] += ds * first_tile[j * HEAD + d];
        } else {
          dq[d] += ds * qkv[k_at + d];
        }
      }
    }
  }
  if (query >= params.tokens) {
    return;
  }
  for (var d = 0u; d < HEAD; d++) {
    store(q_at + d, dq[d]);
  }
}

fn backward_key(group: vec3<u32>, local: u32) {
  let batch = group.y / params.heads;
  let head = group.y % params.heads;
  let key = group.x * WORKGROUP + local;
  let safe = min(key, params.tokens - 1u);

  var k: array<vec4<f32>, HEAD>;
  var v: array<vec4<f32>, HEAD>;
  var dk: array<vec4<f32>, HEAD>;
  var dv: array<vec4<f32>, HEAD>;
  let k_at = qkv_at(batch, head, safe, 1u);
  let v_at = qkv_at(batch, head, safe, 2u);
  for (var d = 0u; d < HEAD; d++) {
    k[d] = qkv[k_at + d] * params.scale;
    v[d] = qkv[v_at + d];
  }
  for (var start = group.x * WORKGROUP; start < params.tokens; start += KEYS) {
    if (STAGED) {
      workgroupBarrier();
      for (var i = local; i < KEYS * HEAD; i += WORKGROUP) {
        let t = min(start + i / HEAD, params.tokens - 1u);
        first_tile[i] = qkv[qkv_at(batch, head, t, 0u) + i % HEAD];
        second_tile[i] = grad[row_at(batch, head, t) + i % HEAD];
      }
      workgroupBarrier();
    }
    let count = min(KEYS, params.tokens - start);
    for (var j = 0u; j < count; j++) {
      let t = start + j;
      let q_at = qkv_at(batch, head, t, 0u);
      let out_at = row_at(batch, head, t);
      var scores = vec4(0.0);
      var products = vec4(0.0);
      for (var d = 0u; d < HEAD; d++) {
        if (STAGED) {
          scores += k[d] * first_tile[j * HEAD + d];
          products += v[d] * second_tile[j * HEAD + d];
        } else {
          scores += k[d] * qkv[q_at + d];
          products += v[d] * grad[out_at + d];
        }
      }
      let lse = packed[params.lse_offset + group.y * params.tokens + t];
      let d_row = deltas[group.y * params.tokens + t];
      var seen = t >= safe;
      if (SEGMENTS) {
        seen = seen && starts[batch * params.tokens + t] <= safe;
      }
      let weight = select(0.0, exp(min(dot(scores, vec4(1.0)) - lse, 0.0)), seen);
      let ds = weight * (dot(products, vec4(1.0)) - d_row) * params.scale;
      for (var d = 0u; d < HEAD; d++) {
        if (STAGED) {
          dk[d] += ds * first_tile[j * HEAD + d];
          dv[d] += weight * second_tile[j * HEAD + d];
        } else {
          dk[d] += ds * qkv[q_at + d];
          dv[d] += weight * grad[out_at + d];
        }
      }
    }
  }
  if (key >= params.tokens) {
    return;
  }
  for (var d = 0u; d < HEAD; d++) {
    store(k_at + d, dk[d]);
    store(v_at + d, dv[d]);
  }
}

@compute @workgroup_size(WORKGROUP)
fn backward(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
  if (group.z == 0u) {
    backward_query(group, local.x);
  } else {
    backward_key(group, local.x);
  }
}
