// y = x / (1 - p) where a random number is at least p, else 0. The number is a hash of (seed, stream, index), so the
// backward pass draws the same mask from the same seed. One invocation computes one element.

struct Params {
  count: u32,
  stream: u32,
  rate: f32,
}

override WORKGROUP: u32 = 256;

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> output: array<f32>;
@group(0) @binding(2) var<storage, read> x: array<f32>;
@group(0) @binding(3) var<storage, read> seed: array<u32>;

// PCG output permutation: https://jcgt.org/published/0009/03/02, section 4.
fn pcg(v: u32) -> u32 {
  let state = v * 747796405u + 2891336453u;
  let word = ((state >> ((state >> 28u) + 4u)) ^ state) * 277803737u;
  return (word >> 22u) ^ word;
}

@compute @workgroup_size(WORKGROUP)
fn forward(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let i = id.x + id.y * groups.x * WORKGROUP;
  if (i >= params.count) {
    return;
  }
  let random = f32(pcg(i + pcg(params.stream + pcg(seed[0]))) >> 8u) / 16777216.0;
  output[i] = select(0.0, x[i] / (1.0 - params.rate), random >= params.rate);
}
