// Floats kept in 16 bits: bfloat16, the upper half of a float32, two in a word. One invocation makes one word of two,
// or one float.
//   narrow   y = x rounded to the nearest bfloat16, of two as near to the even one
//   widen    y = x as float32

struct Params {
  count: u32,
}

override WORKGROUP: u32 = 256;

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> output: array<u32>;
@group(0) @binding(2) var<storage, read> x: array<u32>;

// NaN stays NaN: rounding must not carry over into its exponent.
fn rounded(bits: u32) -> u32 {
  let even = (bits >> 16u) & 1u;
  let is_nan = (bits & 0x7fffffffu) > 0x7f800000u;
  return select((bits + 0x7fffu + even) >> 16u, (bits >> 16u) | 0x40u, is_nan);
}

@compute @workgroup_size(WORKGROUP)
fn narrow(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let i = 2u * (id.x + id.y * groups.x * WORKGROUP);
  if (i >= params.count) {
    return;
  }
  var upper = 0u;
  if (i + 1u < params.count) {
    upper = rounded(x[i + 1u]);
  }
  output[i / 2u] = rounded(x[i]) | (upper << 16u);
}

@compute @workgroup_size(WORKGROUP)
fn widen(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let i = id.x + id.y * groups.x * WORKGROUP;
  if (i < params.count) {
    output[i] = (x[i / 2u] >> (16u * (i % 2u))) << 16u;
  }
}
