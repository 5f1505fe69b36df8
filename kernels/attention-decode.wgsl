// Attention of one new token a sequence over its key-value cache [B, LENGTH, 2 C], each position k then v.
//   append    cache[b, positions[b] + i] = the k and v of row (b, i) of qkv [B tokens, 3 C], in place. One element each.
//   forward   y[b] = softmax(scale q k) v over the keys 0..positions[b]. One workgroup serves one head of one sequence:
//             each lane runs an online softmax over every LANES-th key, then the lanes' results are joined in order.

struct Params {
  rows: u32,
  tokens: u32,
  heads: u32,
  length: u32,
  scale: f32,
}

override LANES: u32 = 32;
override WORKGROUP: u32 = 64;

const HEAD = 16u; // vec4s in a head

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> output: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> qkv: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> positions: array<u32>;
@group(0) @binding(4) var<storage, read> cache: array<vec4<f32>>;

@compute @workgroup_size(WORKGROUP)
fn append(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let i = id.x + id.y * groups.x * WORKGROUP;
  let width = params.heads * HEAD;
  let row = i / (2u * width);
  if (row >= params.rows) {
    return;
  }
  let sequence = row / params.tokens;
  let position = positions[sequence] + row % params.tokens;
  if (position < params.length) {
    let c = i % (2u * width);
    output[(sequence * params.length + position) * 2u * width + c] = qkv[row * 3u * width + width + c];
  }
}

var<workgroup> largests: array<f32, LANES>;
var<workgroup> totals: array<f32, LANES>;
var<workgroup> sums: array<vec4<f32>, LANES * HEAD>;

@compute @workgroup_size(LANES)
fn forward(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
  let sequence = group.y;
  let head = group.x;
  let lane = local.x;
  let width = params.heads * HEAD;
  let count = min(positions[sequence] + 1u, params.length);

  var q: array<vec4<f32>, HEAD>;
  var sum: array<vec4<f32>, HEAD>;
  for (var d = 0u; d < HEAD; d++) {
    q[d] = qkv[sequence * 3u * width + head * HEAD + d] * params.scale;
  }
  var largest = -3.4028234e38;
  var total = 0.0;
  for (var t = lane; t < count; t += LANES) {
    let k_at = (sequence * params.length + t) * 2u * width + head * HEAD;
    var products = vec4(0.0);
    for (var d = 0u; d < HEAD; d++) {
      products += q[d] * cache[k_at + d];
    }
    let score = dot(products, vec4(1.0));
    let raised = max(largest, score);
    let keep = exp(largest - raised);
    let weight = exp(score - raised);
    largest = raised;
    total = total * keep + weight;
    for (var d = 0u; d < HEAD; d++) {
      sum[d] = sum[d] * keep + weight * cache[k_at + width + d];
    }
  }
  largests[lane] = largest;
  totals[lane] = total;
  for (var d = 0u; d < HEAD; d++) {
    sums[lane * HEAD + d] = sum[d];
  }
  workgroupBarrier();

  var overall = -3.4028234e38;
  for (var i = 0u; i < LANES; i++) {
    overall = max(overall, largests[i]);
  }
  for (var d = lane; d < HEAD; d += LANES) {
    var value = vec4(0.0);
    var weights = 0.0;
    for (var i = 0u; i < LANES; i++) {
      let factor = exp(largests[i] - overall);
      weights += factor * totals[i];
      value += factor * sums[i * HEAD + d];
    }
    output[sequence * width + head * HEAD + d] = value / weights;
  }
}
