// Parts of a tensor: every step-th element from `first` on. One invocation moves one element.
//   slice   y[i] = x[first + step i], whatever the words mean
//   put     y[first + step i] += x[i], in place

struct Params {
  count: u32,
  first: u32,
  step: u32,
}

override WORKGROUP: u32 = 256;

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> output: array<u32>;
@group(0) @binding(2) var<storage, read> x: array<u32>;

@compute @workgroup_size(WORKGROUP)
fn slice(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let i = id.x + id.y * groups.x * WORKGROUP;
  if (i < params.count) {
    output[i] = x[params.first + params.step * i];
  }
}

@compute @workgroup_size(WORKGROUP)
fn put(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let i = id.x + id.y * groups.x * WORKGROUP;
  if (i < params.count) {
    let at = params.first + params.step * i;
    output[at] = bitcast<u32>(bitcast<f32>(output[at]) + bitcast<f32>(x[i]));
  }
}
