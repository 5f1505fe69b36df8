// C = the sum of parts (+ bias) (then GELU) (+ C): the products of slices of an inner dimension, one behind the
// other, each [rows, columns], added up in order. One invocation computes one element.

struct Params {
  rows: u32,
  columns: u32,
  parts: u32,
  first: u32,
  stride: u32,
}

override BIAS: bool = false;
override GELU: bool = false;
override ACCUMULATE: bool = false;
override PLUS: bool = false; // other
override TIMES_GELU: bool = false; // the derivative of GELU at other
override WORKGROUP: u32 = 256;

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> output: array<f32>;
@group(0) @binding(2) var<storage, read> parts: array<f32>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read> other: array<f32>;

fn tanh_of_gelu(v: f32) -> f32 {
  let u = 0.7978845608028654 * (v + 0.044715 * v * v * v);
  return tanh(clamp(u, -15.0, 15.0));
}

fn gelu(v: f32) -> f32 {
  return 0.5 * v * (1.0 + tanh_of_gelu(v));
}

fn gelu_derivative(v: f32) -> f32 {
  let t = tanh_of_gelu(v);
  return 0.5 * (1.0 + t) + 0.5 * v * (1.0 - t * t) * 0.7978845608028654 * (1.0 + 3.0 * 0.044715 * v * v);
}

@compute @workgroup_size(WORKGROUP)
fn forward(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let i = id.x + id.y * groups.x * WORKGROUP;
  let count = params.rows * params.columns;
  if (i >= count) {
    return;
  }
  var value = parts[i];
  for (var part = 1u; part < params.parts; part++) {
    value += parts[part * count + i];
  }
  let x = i % params.columns;
  if (BIAS) {
    value += bias[x];
  }
  if (GELU) {
    value = gelu(value);
  }
  let at = params.first + i / params.columns * params.stride + x;
  if (PLUS) {
    value += other[at];
  }
  if (TIMES_GELU) {
    value *= gelu_derivative(other[at]);
  }
  if (ACCUMULATE) {
    value += output[at];
  }
  output[at] = value;
}
