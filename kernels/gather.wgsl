// Rows of a table, by id. The table holds the rows from `first` on.
//   forward   y[n] = table[ids[n] - first]. One invocation computes one element. With PART: y[n] += it, where that row
//             is in the table; without, the last row stands for others.
//   scatter   table[id - first] += sum of x[n] over all n with ids[n] = id, in place. One workgroup serves one n: the
//             first n with an id adds up all of them, in order, and later ones do nothing, so no atomics are needed.

struct Params {
  rows: u32,
  columns: u32,
  table_rows: u32,
  first: u32,
}

override WORKGROUP: u32 = 64;
override PART: bool = false;
override STORED: u32 = 0; // how the table is stored: 0 in float32, 1 in bfloat16, 2 in float16, 4 in int8

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> output: array<f32>;
@group(0) @binding(2) var<storage, read> source: array<u32>;
@group(0) @binding(3) var<storage, read> ids: array<u32>;

// Two 16-bit numbers lie in a word, or four of 8 bits as in matmul.wgsl. bfloat16 is the upper half of a float32.
fn source_at(row: u32, column: u32) -> f32 {
  let i = row * params.columns + column;
  if (STORED == 1u) {
    return bitcast<f32>((source[i / 2u] >> (16u * (i % 2u))) << 16u);
  }
  if (STORED == 2u) {
    return unpack2x16float(source[i / 2u])[i % 2u];
  }
  if (STORED == 4u) {
    let scale = bitcast<f32>(source[(params.columns + 3u) / 4u * params.table_rows + row]);
    return f32(i32(source[column / 4u * params.table_rows + row] << (24u - 8u * (column % 4u))) >> 24u) * scale;
  }
  return bitcast<f32>(source[i]);
}

@compute @workgroup_size(WORKGROUP)
fn forward(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let i = id.x + id.y * groups.x * WORKGROUP;
  if (i >= params.rows * params.columns) {
    return;
  }
  let row = ids[i / params.columns] - params.first;
  if (PART) {
    if (row < params.table_rows) {
      output[i] += source_at(row, i % params.columns);
    }
    return;
  }
  output[i] = source_at(min(row, params.table_rows - 1u), i % params.columns);
}

var<workgroup> earlier: array<u32, WORKGROUP>;

@compute @workgroup_size(WORKGROUP)
fn scatter(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_id) local: vec3<u32>,
) {
  let n = group.x + group.y * groups.x;
  let mine = ids[min(n, params.rows - 1u)];
  var found = 0u;
  for (var m = local.x; m < n && m < params.rows && found == 0u; m += WORKGROUP) {
    found = select(0u, 1u, ids[m] == mine);
  }
  earlier[local.x] = found;
  for (var step = WORKGROUP / 2; step > 0; step /= 2) {
    workgroupBarrier();
    if (local.x < step) {
      earlier[local.x] |= earlier[local.x + step];
    }
  }
  workgroupBarrier();
  let row = mine - params.first;
  if (n >= params.rows || row >= params.table_rows || earlier[0] == 1u) {
    return;
  }
  for (var m = n; m < params.rows; m++) {
    if (ids[m] == mine) {
      for (var c = local.x; c < params.columns; c += WORKGROUP) {
        output[row * params.columns + c] += bitcast<f32>(source[m * params.columns + c]);
      }
    }
  }
}
