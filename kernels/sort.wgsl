// Rows [rows, columns] in ascending order, equals in the order of their places. One invocation serves one element.
//   ranks   rank[r, c] = how many elements of the row come before x[r, c]
//   place   y[r, rank[r, c]] = x[r, c]
//   take    y[r, c] = x[r, rank[r, c]]

struct Params {
  rows: u32,
  columns: u32,
}

override WORKGROUP: u32 = 64;

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> output: array<u32>;
@group(0) @binding(2) var<storage, read> x: array<u32>;
@group(0) @binding(3) var<storage, read> positions: array<u32>;

// Bits of a float as a number of the same order, in which 0 and -0 are equal and NaN has a place at an end.
fn key(bits: u32) -> u32 {
  if ((bits << 1u) == 0u) {
    return 0x80000000u;
  }
  return select(bits | 0x80000000u, ~bits, bits >> 31u == 1u);
}

@compute @workgroup_size(WORKGROUP)
fn ranks(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let i = id.x + id.y * groups.x * WORKGROUP;
  if (i >= params.rows * params.columns) {
    return;
  }
  let first = i / params.columns * params.columns;
  let mine = key(x[i]);
  var rank = 0u;
  for (var j = first; j < first + params.columns; j++) {
    let other = key(x[j]);
    rank += select(0u, 1u, other < mine || (other == mine && j < i));
  }
  output[i] = rank;
}

@compute @workgroup_size(WORKGROUP)
fn place(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let i = id.x + id.y * groups.x * WORKGROUP;
  if (i < params.rows * params.columns) {
    output[i / params.columns * params.columns + positions[i]] = x[i];
  }
}

@compute @workgroup_size(WORKGROUP)
fn take(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let i = id.x + id.y * groups.x * WORKGROUP;
  if (i < params.rows * params.columns) {
    output[i] = x[i / params.columns * params.columns + positions[i]];
  }
}
