// counts[slot, tokens[r]] += step, in place, where slot = streams[r, 0]: what penalties have seen. A slot past the last
// is none. One invocation serves one row.

struct Params {
  rows: u32,
  columns: u32,
  slots: u32,
  step: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> output: array<u32>;
@group(0) @binding(2) var<storage, read> tokens: array<u32>;
@group(0) @binding(3) var<storage, read> streams: array<u32>;

@compute @workgroup_size(1)
fn forward(@builtin(workgroup_id) group: vec3<u32>) {
  let token = tokens[group.x];
  let slot = streams[3u * group.x];
  if (slot < params.slots && token < params.columns) {
    output[slot * params.columns + token] += params.step;
  }
}
