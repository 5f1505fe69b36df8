// Lion over a window of the slabs: https://arxiv.org/abs/2302.06675, algorithm 2.
//   w = w (1 - lr decay);  w = w - lr sign(beta1 m + (1 - beta1) g);  m = beta2 m + (1 - beta2) g
// One invocation updates one element. After a bad step (see norm.wgsl) nothing is changed any more.

struct Params {
  count: u32,
  decayed: u32,
  beta1: f32,
  beta2: f32,
  decay: f32,
}

override WORKGROUP: u32 = 256;

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> weights: array<f32>;
@group(0) @binding(2) var<storage, read_write> momentum: array<f32>;
@group(0) @binding(3) var<storage, read> grads: array<f32>;
@group(0) @binding(4) var<storage, read> stats: array<f32>;
@group(0) @binding(5) var<storage, read> schedule: array<f32>;

@compute @workgroup_size(WORKGROUP)
fn forward(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let i = id.x + id.y * groups.x * WORKGROUP;
  if (i >= params.count || stats[2] != 0.0) {
    return;
  }
  let rate = schedule[0];
  let g = grads[i] * stats[1];
  let m = momentum[i];
  momentum[i] = params.beta2 * m + (1.0 - params.beta2) * g;
  var w = weights[i];
  w -= select(0.0, rate * params.decay * w, i < params.decayed);
  weights[i] = w - rate * sign(params.beta1 * m + (1.0 - params.beta1) * g);
}
