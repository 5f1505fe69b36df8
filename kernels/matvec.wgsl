// C = A op(B) (+ bias) (then GELU) (+ other) (+ C) for at most ROWS rows of A, for GPUs: what decoding multiplies. See
// matmul.wgsl. A row's sums do not depend on how many rows there are.
//   by_columns   B [inner, columns]: a workgroup computes 16 columns. 4 quads of them times 64 lanes, of which each
//                takes every 64th k; then the lanes are summed in a fixed order.
//   by_rows      B [columns, inner]: a workgroup computes 8 columns, each by 32 lanes, of which each takes every 32nd
//                quad of k; then likewise.
// `inner` is a multiple of four in by_rows, `columns` in by_columns. Several loads are on their way at a time.

struct Params {
  rows: u32,
  columns: u32,
  inner: u32,
  a_first: u32,
  a_stride: u32,
  first: u32,
  stride: u32,
}

override BIAS: bool = false;
override GELU: bool = false;
override ACCUMULATE: bool = false;
override PLUS: bool = false;

const ROWS = 1u;
const DEEP = 4u;

alias B = vec4<f32>;

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> output: array<f32>;
@group(0) @binding(2) var<storage, read> a: array<f32>;
@group(0) @binding(3) var<storage, read> b: array<B>;
@group(0) @binding(4) var<storage, read> bias: array<f32>;
@group(0) @binding(5) var<storage, read> other: array<f32>;

// Four neighbours from element i on, a multiple of four.
fn b_quad(i: u32) -> vec4<f32> { return b[i / 4u]; }

var<workgroup> quads: array<vec4<f32>, 256>;
var<workgroup> numbers: array<f32, 256>;

fn gelu(v: f32) -> f32 {
  let u = 0.7978845608028654 * (v + 0.044715 * v * v * v);
  return 0.5 * v * (1.0 + tanh(clamp(u, -15.0, 15.0)));
}

fn store(row: u32, x: u32, sum: f32) {
  if (row >= params.rows || x >= params.columns) {
    return;
  }
  var value = sum;
  if (BIAS) {
    value += bias[x];
  }
  if (GELU) {
    value = gelu(value);
  }
  let at = params.first + row * params.stride + x;
  if (PLUS) {
    value += other[at];
  }
  if (ACCUMULATE) {
    value += output[at];
  }
  output[at] = value;
}

fn a_at(row: u32) -> u32 {
  return params.a_first + min(row, params.rows - 1u) * params.a_stride;
}

@compute @workgroup_size(4, 64)
fn by_columns(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
  let column = group.x * 16u + local.x * 4u;
  let safe = min(column, params.columns - 4u);
  let slot = local.y * 4u + local.x;
  var sums: array<vec4<f32>, ROWS>;
  for (var start = local.y; start < params.inner; start += 64u * DEEP) {
    for (var j = 0u; j < DEEP; j++) {
      let k = start + 64u * j;
      let inside = min(k, params.inner - 1u);
      let value = b_quad(inside * params.columns + safe);
      for (var r = 0u; r < ROWS; r++) {
        let x = a[a_at(r) + inside];
        sums[r] += select(0.0, x, k < params.inner) * value;
      }
    }
  }
  for (var r = 0u; r < ROWS; r++) {
    workgroupBarrier();
    quads[slot] = sums[r];
    for (var step = 32u; step > 0u; step /= 2u) {
      workgroupBarrier();
      if (local.y < step) {
        quads[slot] += quads[slot + 4u * step];
      }
    }
    if (local.y == 0u) {
      let total = quads[slot];
      store(r, column, total.x);
      store(r, column + 1u, total.y);
      store(r, column + 2u, total.z);
      store(r, column + 3u, total.w);
    }
  }
}

@compute @workgroup_size(32, 8)
fn by_rows(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_id) local: vec3<u32>,
) {
  let column = (group.x + group.y * groups.x) * 8u + local.y;
  let begin = min(column, params.columns - 1u) * params.inner;
  let slot = local.y * 32u + local.x;
  var sums: array<f32, ROWS>;
  for (var start = 4u * local.x; start < params.inner; start += 128u * DEEP) {
    for (var j = 0u; j < DEEP; j++) {
      let k = start + 128u * j;
      let inside = min(k, params.inner - 4u);
      let value = select(vec4(0.0), b_quad(begin + inside), k < params.inner);
      for (var r = 0u; r < ROWS; r++) {
        let at = a_at(r) + inside;
        sums[r] += a[at] * value.x + a[at + 1u] * value.y + a[at + 2u] * value.z + a[at + 3u] * value.w;
      }
    }
  }
  for (var r = 0u; r < ROWS; r++) {
    workgroupBarrier();
    numbers[slot] = sums[r];
    for (var step = 16u; step > 0u; step /= 2u) {
      workgroupBarrier();
      if (local.x < step) {
        numbers[slot] += numbers[slot + step];
      }
    }
    if (local.x == 0u) {
      store(r, column, numbers[slot]);
    }
  }
}
