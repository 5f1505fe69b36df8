// Column sums of a matrix [rows, columns] of quads, in one dispatch, for GPUs: see reduce.wgsl and layer-norm.wgsl.
//   sum     y[c] = sum over r of x[r, c]
//   scale   y[c] = sum over r of x[r, c] (other[r, c] - mean[r]) rstd[r]: of x the gradient of a layer norm's
//           output, of `other` its input, the gradient of its scale;  scale_sum  both, the sum into `sums`
// One workgroup computes 4 QUADS columns; LANES invocations share a quad, and each has DEEP loads on their way.

struct Params {
  rows: u32,
  columns: u32,
}

override ACCUMULATE: bool = false;

const QUADS = 8u;
const LANES = 32u;
const DEEP = 8u;

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> output: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> other: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> statistic: array<vec2<f32>>;
@group(0) @binding(5) var<storage, read_write> sums: array<vec4<f32>>;

var<workgroup> partial: array<vec4<f32>, QUADS * LANES>;

// Of the lanes' sums, added up in a fixed order: the first lane's.
fn total_of(value: vec4<f32>, local: vec3<u32>) -> vec4<f32> {
  partial[local.y * QUADS + local.x] = value;
  for (var step = LANES / 2u; step > 0u; step /= 2u) {
    workgroupBarrier();
    if (local.y < step) {
      partial[local.y * QUADS + local.x] += partial[(local.y + step) * QUADS + local.x];
    }
  }
  return partial[local.x];
}

fn finish(value: vec4<f32>, quad: u32, local: vec3<u32>) {
  var total = total_of(value, local);
  if (local.y == 0u && quad < params.columns / 4u) {
    if (ACCUMULATE) {
      total += output[quad];
    }
    output[quad] = total;
  }
}

@compute @workgroup_size(QUADS, LANES)
fn sum(@builtin(global_invocation_id) id: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
  let width = params.columns / 4u;
  let quad = min(id.x, width - 1u);
  var total = vec4(0.0);
  for (var first = local.y; first < params.rows; first += LANES * DEEP) {
    for (var j = 0u; j < DEEP; j++) {
      let row = first + j * LANES;
      let value = x[min(row, params.rows - 1u) * width + quad];
      total += select(vec4(0.0), value, row < params.rows);
    }
  }
  finish(total, id.x, local);
}

@compute @workgroup_size(QUADS, LANES)
fn scale(@builtin(global_invocation_id) id: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
  let width = params.columns / 4u;
  let quad = min(id.x, width - 1u);
  var total = vec4(0.0);
  for (var first = local.y; first < params.rows; first += LANES * DEEP) {
    for (var j = 0u; j < DEEP; j++) {
      let row = first + j * LANES;
      let safe = min(row, params.rows - 1u);
      let s = statistic[safe];
      let value = x[safe * width + quad] * (other[safe * width + quad] - s.x) * s.y;
      total += select(vec4(0.0), value, row < params.rows);
    }
  }
  finish(total, id.x, local);
}

@compute @workgroup_size(QUADS, LANES)
fn scale_sum(@builtin(global_invocation_id) id: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
  let width = params.columns / 4u;
  let quad = min(id.x, width - 1u);
  var total = vec4(0.0);
  var plain = vec4(0.0);
  for (var first = local.y; first < params.rows; first += LANES * DEEP) {
    for (var j = 0u; j < DEEP; j++) {
      let row = first + j * LANES;
      let safe = min(row, params.rows - 1u);
      let s = statistic[safe];
      let value = select(vec4(0.0), x[safe * width + quad], row < params.rows);
      total += value * (other[safe * width + quad] - s.x) * s.y;
      plain += value;
    }
  }
  finish(total, id.x, local);
  workgroupBarrier();
  var sum_total = total_of(plain, local);
  if (local.y == 0u && id.x < width) {
    if (ACCUMULATE) {
      sum_total += sums[id.x];
    }
    sums[id.x] = sum_total;
  }
}
