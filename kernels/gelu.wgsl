// GELU, tanh form: y = x/2 (1 + tanh u),  u = c (x + a x^3). One invocation computes one element.
//   backward   dx = grad * dy/dx

struct Params {
  count: u32,
}

override WORKGROUP: u32 = 256;

const C = 0.7978845608028654; // sqrt(2 / pi)
const A = 0.044715;

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> output: array<f32>;
@group(0) @binding(2) var<storage, read> x: array<f32>;
@group(0) @binding(3) var<storage, read> grad: array<f32>;

// tanh overflows to NaN on some drivers for large |u|; its limits are exact by 15.
fn tanh_safe(u: f32) -> f32 {
  return tanh(clamp(u, -15.0, 15.0));
}

@compute @workgroup_size(WORKGROUP)
fn forward(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let i = id.x + id.y * groups.x * WORKGROUP;
  if (i >= params.count) {
    return;
  }
  let v = x[i];
  output[i] = 0.5 * v * (1.0 + tanh_safe(C * (v + A * v * v * v)));
}

@compute @workgroup_size(WORKGROUP)
fn backward(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let i = id.x + id.y * groups.x * WORKGROUP;
  if (i >= params.count) {
    return;
  }
  let v = x[i];
  let t = tanh_safe(C * (v + A * v * v * v));
  let du = C * (1.0 + 3.0 * A * v * v);
  output[i] = grad[i] * (0.5 * (1.0 + t) + 0.5 * v * (1.0 - t * t) * du);
}
