// Muon's two ends (https://kellerjordan.github.io/posts/muon); what is between them are products of matrices.
//   momentum  m = momentum m + (1 - momentum) g, in place;  y = (1 - momentum) g + momentum m, as Nesterov's
//   apply     w = w (1 - lr decay) - lr factor x, in place
// One invocation computes one element. After a bad step (see norm.wgsl) momentum and weights are not changed any more.

struct Params {
  count: u32,
  momentum: f32,
  decay: f32,
  factor: f32,
}

override WORKGROUP: u32 = 256;

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> output: array<f32>;
@group(0) @binding(2) var<storage, read_write> first: array<f32>;
@group(0) @binding(3) var<storage, read> second: array<f32>;
@group(0) @binding(4) var<storage, read> third: array<f32>;

@compute @workgroup_size(WORKGROUP)
fn momentum(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let i = id.x + id.y * groups.x * WORKGROUP;
  if (i >= params.count) {
    return;
  }
  if (third[2] != 0.0) {
    output[i] = 0.0;
    return;
  }
  let g = second[i] * third[1];
  let m = params.momentum * first[i] + (1.0 - params.momentum) * g;
  first[i] = m;
  output[i] = (1.0 - params.momentum) * g + params.momentum * m;
}

@compute @workgroup_size(WORKGROUP)
fn apply(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let i = id.x + id.y * groups.x * WORKGROUP;
  if (i >= params.count || second[2] != 0.0) {
    return;
  }
  let rate = third[0];
  let w = output[i];
  output[i] = w - rate * params.decay * w - rate * params.factor * first[i];
}
