// Layer norm over rows: y = (x - mean) rstd scale + shift. LANES invocations share a row, except in backward_scale.
//   statistics       mean and rstd of each row
//   forward          y;  statistics_forward both
//   backward         dx = rstd (g - mean(g) - xhat mean(g xhat)),  g = grad scale,  xhat = (x - mean) rstd
//   backward_plus    the same with `added`
//   backward_scale   for each chunk of rows: sum of grad xhat. One invocation computes one column of one chunk.

struct Params {
  rows: u32,
  columns: u32,
  chunk: u32,
  epsilon: f32,
}

override LANES: u32 = 64;
override ROWS: u32 = 4;
override WORKGROUP: u32 = 64;

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> output: array<f32>;
@group(0) @binding(2) var<storage, read> x: array<f32>;
@group(0) @binding(3) var<storage, read> statistic: array<vec2<f32>>;
@group(0) @binding(3) var<storage, read_write> made: array<vec2<f32>>;
@group(0) @binding(4) var<storage, read> scale: array<f32>;
@group(0) @binding(5) var<storage, read> other: array<f32>;
@group(0) @binding(6) var<storage, read> added: array<f32>;

var<workgroup> partial: array<vec2<f32>, ROWS * LANES>;

// The sum over the lanes of a row, in a fixed order.
fn row_sum(value: vec2<f32>, local: vec3<u32>) -> vec2<f32> {
  let slot = local.y * LANES;
  partial[slot + local.x] = value;
  for (var step = LANES / 2; step > 0; step /= 2) {
    workgroupBarrier();
    if (local.x < step) {
      partial[slot + local.x] += partial[slot + local.x + step];
    }
  }
  if (LANES > 1) {
    workgroupBarrier();
  }
  let total = partial[slot];
  if (LANES > 1) {
    workgroupBarrier();
  }
  return total;
}

fn row_of(group: vec3<u32>, groups: vec3<u32>, local: vec3<u32>) -> u32 {
  return (group.x + group.y * groups.x) * ROWS + local.y;
}

// Mean and rstd of the row that begins there.
fn statistics_of(start: u32, local: vec3<u32>) -> vec2<f32> {
  let count = f32(params.columns);
  var total = 0.0;
  for (var c = local.x; c < params.columns; c += LANES) {
    total += x[start + c];
  }
  let mean = row_sum(vec2(total, 0.0), local).x / count;
  var squares = 0.0;
  for (var c = local.x; c < params.columns; c += LANES) {
    let d = x[start + c] - mean;
    squares += d * d;
  }
  let variance = row_sum(vec2(squares, 0.0), local).x / count;
  return vec2(mean, inverseSqrt(variance + params.epsilon));
}

@compute @workgroup_size(LANES, ROWS)
fn statistics(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_id) local: vec3<u32>,
) {
  let row = row_of(group, groups, local);
  let s = statistics_of(min(row, params.rows - 1u) * params.columns, local);
  if (local.x == 0 && row < params.rows) {
    output[2 * row] = s.x;
    output[2 * row + 1] = s.y;
  }
}

@compute @workgroup_size(LANES, ROWS)
fn statistics_forward(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_id) local: vec3<u32>,
) {
  let row = row_of(group, groups, local);
  let s = statistics_of(min(row, params.rows - 1u) * params.columns, local);
  if (row >= params.rows) {
    return;
  }
  let start = row * params.columns;
  for (var c = local.x; c < params.columns; c += LANES) {
    output[start + c] = (x[start + c] - s.x) * s.y * scale[c] + other[c];
  }
  if (local.x == 0) {
    made[row] = s;
  }
}

@compute @workgroup_size(LANES, ROWS)
fn forward(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_id) local: vec3<u32>,
) {
  let row = row_of(group, groups, local);
  if (row >= params.rows) {
    return;
  }
  let start = row * params.columns;
  let s = statistic[row];
  for (var c = local.x; c < params.columns; c += LANES) {
    output[start + c] = (x[start + c] - s.x) * s.y * scale[c] + other[c];
  }
}

// What the gradient of a row is made of: the means of g and of g xhat.
fn means_of(start: u32, s: vec2<f32>, local: vec3<u32>) -> vec2<f32> {
  var sums = vec2(0.0);
  for (var c = local.x; c < params.columns; c += LANES) {
    let g = other[start + c] * scale[c];
    sums += vec2(g, g * (x[start + c] - s.x) * s.y);
  }
  return row_sum(sums, local) / f32(params.columns);
}

fn gradient_at(at: u32, c: u32, s: vec2<f32>, means: vec2<f32>) -> f32 {
  let xhat = (x[at] - s.x) * s.y;
  return s.y * (other[at] * scale[c] - means.x - xhat * means.y);
}

@compute @workgroup_size(LANES, ROWS)
fn backward(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_id) local: vec3<u32>,
) {
  let row = row_of(group, groups, local);
  let safe = min(row, params.rows - 1u);
  let start = safe * params.columns;
  let s = statistic[safe];
  let means = means_of(start, s, local);
  if (row >= params.rows) {
    return;
  }
  for (var c = local.x; c < params.columns; c += LANES) {
    output[start + c] = gradient_at(start + c, c, s, means);
  }
}

@compute @workgroup_size(LANES, ROWS)
fn backward_plus(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_id) local: vec3<u32>,
) {
  let row = row_of(group, groups, local);
  let safe = min(row, params.rows - 1u);
  let start = safe * params.columns;
  let s = statistic[safe];
  let means = means_of(start, s, local);
  if (row >= params.rows) {
    return;
  }
  for (var c = local.x; c < params.columns; c += LANES) {
    output[start + c] = gradient_at(start + c, c, s, means) + added[start + c];
  }
}

// `scale` holds the gradient of the output here.
@compute @workgroup_size(WORKGROUP)
fn backward_scale(@builtin(global_invocation_id) id: vec3<u32>) {
  let column = id.x;
  if (column >= params.columns) {
    return;
  }
  let first = id.y * params.chunk;
  let end = min(first + params.chunk, params.rows);
  var total = 0.0;
  for (var row = first; row < end; row++) {
    let at = row * params.columns + column;
    let s = statistic[row];
    total += scale[at] * (x[at] - s.x) * s.y;
  }
  output[id.y * params.columns + column] = total;
}
