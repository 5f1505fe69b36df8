// Weight-decomposed adapters, over columns j of `columns`.
//   norm                y[j] = length of column j of W + factor (B A)^T
//                       W [rows, columns], A [rank, rows], B [columns, rank]
//   forward             y = x m / norm + bias
//   backward            dx = grad m / norm
//   backward_magnitude  dm[j] = (sum over rows of x grad) / norm[j]
// One invocation computes one element.

struct Params {
  rows: u32,
  columns: u32,
  rank: u32,
  factor: f32,
}

override WORKGROUP: u32 = 64;
override STORED: u32 = 0; // how W is stored: 0 in float32, 1 in bfloat16, 2 in float16, 3 in nf4, 4 in int8, 5 in int4

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> output: array<f32>;
@group(0) @binding(2) var<storage, read> w: array<u32>;
@group(0) @binding(3) var<storage, read> a: array<f32>;
@group(0) @binding(4) var<storage, read> b: array<f32>;
@group(0) @binding(2) var<storage, read> x: array<f32>;
@group(0) @binding(3) var<storage, read> second: array<f32>;
@group(0) @binding(4) var<storage, read> norms: array<f32>;
@group(0) @binding(5) var<storage, read> bias: array<f32>;

fn byte_at(word: u32, i: u32) -> u32 {
  return (w[word + i / 4u] >> (8u * (i % 4u))) & 255u;
}

// As in matmul.wgsl.
fn nf4_at(i: u32) -> f32 {
  let count = params.rows * params.columns;
  let blocks = (count + 63u) / 64u;
  let scales = (count + 7u) / 8u;
  let map = scales + (blocks + 3u) / 4u;
  let nested = map + 272u;
  let offset = nested + (blocks + 255u) / 256u;
  let block = i / 64u;
  let code = (byte_at(0u, i / 2u) >> (4u * (1u - i % 2u))) & 15u;
  let of_scale = bitcast<f32>(w[map + 16u + byte_at(scales, block)]);
  let scale = of_scale * bitcast<f32>(w[nested + block / 256u]) + bitcast<f32>(w[offset]);
  return bitcast<f32>(w[map + code]) * scale;
}

fn half_at(word: u32, i: u32) -> f32 {
  return unpack2x16float(w[word + i / 2u])[i % 2u];
}

fn w_at(row: u32, column: u32) -> f32 {
  let i = row * params.columns + column;
  let turned = column * params.rows + row;
  if (STORED == 1u) {
    return bitcast<f32>((w[i / 2u] >> (16u * (i % 2u))) << 16u);
  }
  if (STORED == 2u) {
    return unpack2x16float(w[i / 2u])[i % 2u];
  }
  if (STORED == 3u) {
    return nf4_at(turned);
  }
  if (STORED == 4u) {
    let scale = bitcast<f32>(w[(params.rows + 3u) / 4u * params.columns + column]);
    return f32(i32(w[row / 4u * params.columns + column] << (24u - 8u * (row % 4u))) >> 24u) * scale;
  }
  if (STORED == 5u) {
    let scales = (params.rows + 7u) / 8u * params.columns;
    let least = scales + ((params.rows + 63u) / 64u * params.columns + 1u) / 2u;
    let group = row / 64u * params.columns + column;
    let code = (w[row / 8u * params.columns + column] >> (4u * (row % 8u))) & 15u;
    return f32(code) * half_at(scales, group) + half_at(least, group);
  }
  return bitcast<f32>(w[i]);
}

@compute @workgroup_size(WORKGROUP)
fn norm(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let j = id.x + id.y * groups.x * WORKGROUP;
  if (j >= params.columns) {
    return;
  }
  var squares = 0.0;
  for (var i = 0u; i < params.rows; i++) {
    var v = 0.0;
    for (var r = 0u; r < params.rank; r++) {
      v += a[r * params.rows + i] * b[j * params.rank + r];
    }
    let whole = w_at(i, j) + params.factor * v;
    squares += whole * whole;
  }
  output[j] = sqrt(squares);
}

@compute @workgroup_size(WORKGROUP)
fn forward(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let i = id.x + id.y * groups.x * WORKGROUP;
  if (i >= params.rows * params.columns) {
    return;
  }
  let j = i % params.columns;
  output[i] = x[i] * second[j] / norms[j] + bias[j];
}

@compute @workgroup_size(WORKGROUP)
fn backward(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let i = id.x + id.y * groups.x * WORKGROUP;
  if (i >= params.rows * params.columns) {
    return;
  }
  let j = i % params.columns;
  output[i] = x[i] * second[j] / norms[j];
}

@compute @workgroup_size(WORKGROUP)
fn backward_magnitude(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let j = id.x + id.y * groups.x * WORKGROUP;
  if (j >= params.columns) {
    return;
  }
  var sum = 0.0;
  for (var i = 0u; i < params.rows; i++) {
    sum += x[i * params.columns + j] * second[i * params.columns + j];
  }
  output[j] = sum / norms[j];
}
