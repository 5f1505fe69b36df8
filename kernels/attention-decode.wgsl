// Attention of new tokens over a key-value cache [SLOTS, LENGTH, 2 C], each position k then v. Row (r, i) of qkv
// [R tokens, 3 C] is token i of a sequence in slot slots[r], at position positions[r] + i. A slot past the last is
// none.
//   append    cache[slot, position] = the k and v of each row, in place. One element each.
//   copy      the first positions of a slot to another, in place: move_of is from, to and how many. One element each.
//   forward   y = softmax(scale q k) v over the slot's keys 0..position. One workgroup serves one head of one row:
//             each lane runs an online softmax over every LANES-th key, then the lanes' results are joined in order.

struct Params {
  rows: u32,
  tokens: u32,
  heads: u32,
  slots: u32,
  length: u32,
  scale: f32,
}

override LANES: u32 = 32;
override WORKGROUP: u32 = 64;

const HEAD = 16u; // vec4s in a head

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> output: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> qkv: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> move_of: array<u32>;
@group(0) @binding(3) var<storage, read> slots: array<u32>;
@group(0) @binding(4) var<storage, read> positions: array<u32>;
@group(0) @binding(5) var<storage, read> cache: array<vec4<f32>>;

@compute @workgroup_size(WORKGROUP)
fn append(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let i = id.x + id.y * groups.x * WORKGROUP;
  let width = params.heads * HEAD;
  let row = i / (2u * width);
  if (row >= params.rows) {
    return;
  }
  let sequence = row / params.tokens;
  let slot = slots[sequence];
  let position = positions[sequence] + row % params.tokens;
  if (slot < params.slots && position < params.length) {
    let c = i % (2u * width);
    output[(slot * params.length + position) * 2u * width + c] = qkv[row * 3u * width + width + c];
  }
}

@compute @workgroup_size(WORKGROUP)
fn copy(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let i = id.x + id.y * groups.x * WORKGROUP;
  let size = 2u * params.heads * HEAD;
  if (i < min(move_of[2], params.length) * size) {
    output[move_of[1] * params.length * size + i] = output[move_of[0] * params.length * size + i];
  }
}

var<workgroup> largests: array<f32, LANES>;
var<workgroup> totals: array<f32, LANES>;
var<workgroup> sums: array<vec4<f32>, LANES * HEAD>;

@compute @workgroup_size(LANES)
fn forward(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
  let row = group.y;
  let sequence = row / params.tokens;
  let slot = slots[sequence];
  let head = group.x;
  let lane = local.x;
  let width = params.heads * HEAD;
  let seen = min(positions[sequence] + row % params.tokens + 1u, params.length);
  let count = select(0u, seen, slot < params.slots);

  var q: array<vec4<f32>, HEAD>;
  var sum: array<vec4<f32>, HEAD>;
  for (var d = 0u; d < HEAD; d++) {
    q[d] = qkv[row * 3u * width + head * HEAD + d] * params.scale;
  }
  var largest = -3.4028234e38;
  var total = 0.0;
  for (var t = lane; t < count; t += LANES) {
    let k_at = (slot * params.length + t) * 2u * width + head * HEAD;
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
    output[row * width + head * HEAD + d] = value / max(weights, 1e-37);
  }
}
