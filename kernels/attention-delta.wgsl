// D[b h, t] = dO[t] . O[t] for each head: the row term of the softmax's gradient. One invocation computes one D.

struct Params {
  tokens: u32,
  heads: u32,
  width: u32,
}

override WORKGROUP: u32 = 64;

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> output: array<f32>;
@group(0) @binding(2) var<storage, read> packed: array<f32>;
@group(0) @binding(3) var<storage, read> grad: array<f32>;

@compute @workgroup_size(WORKGROUP)
fn forward(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
  let t = group.x * WORKGROUP + local.x;
  if (t >= params.tokens) {
    return;
  }
  let row = (group.y / params.heads) * params.tokens + t;
  let at = (row * params.heads + group.y % params.heads) * params.width;
  var total = 0.0;
  for (var d = 0u; d < params.width; d++) {
    total += packed[at + d] * grad[at + d];
  }
  output[group.y * params.tokens + t] = total;
}
