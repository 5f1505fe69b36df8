// counts[b, tokens[b]] += step, in place: what penalties have seen. One invocation serves one sequence.

struct Params {
  rows: u32,
  columns: u32,
  step: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> output: array<u32>;
@group(0) @binding(2) var<storage, read> tokens: array<u32>;

@compute @workgroup_size(1)
fn forward(@builtin(workgroup_id) group: vec3<u32>) {
  let token = tokens[group.x];
  if (token < params.columns) {
    output[group.x * params.columns + token] += params.step;
  }
}
