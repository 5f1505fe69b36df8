// Sums of a matrix [rows, columns], in a fixed order.
//   columns    y[chunk, c] = sum over the chunk's rows of x[r, c]. One invocation computes one y.
//   rows       y[r] = factor * sum over c of x[r, c]. LANES invocations share a row.
//   spread_rows, spread_columns   the gradients: y[r, c] = factor * x[r], y[r, c] = factor * x[r / chunk, c]

struct Params {
  rows: u32,
  columns: u32,
  chunk: u32,
  factor: f32,
}

override LANES: u32 = 64;
override ROWS: u32 = 4;
override ACCUMULATE: bool = false;
override WORKGROUP: u32 = 64;

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> output: array<f32>;
@group(0) @binding(2) var<storage, read> x: array<f32>;

@compute @workgroup_size(WORKGROUP)
fn columns(@builtin(global_invocation_id) id: vec3<u32>) {
  let column = id.x;
  if (column >= params.columns) {
    return;
  }
  let first = id.y * params.chunk;
  let end = min(first + params.chunk, params.rows);
  var total = 0.0;
  for (var row = first; row < end; row++) {
    total += x[row * params.columns + column];
  }
  let at = id.y * params.columns + column;
  if (ACCUMULATE) {
    total += output[at];
  }
  output[at] = total;
}

var<workgroup> partial: array<f32, ROWS * LANES>;

@compute @workgroup_size(LANES, ROWS)
fn rows(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_id) local: vec3<u32>,
) {
  let row = (group.x + group.y * groups.x) * ROWS + local.y;
  let slot = local.y * LANES;
  var total = 0.0;
  if (row < params.rows) {
    for (var column = local.x; column < params.columns; column += LANES) {
      total += x[row * params.columns + column];
    }
  }
  partial[slot + local.x] = total;
  for (var step = LANES / 2; step > 0; step /= 2) {
    workgroupBarrier();
    if (local.x < step) {
      partial[slot + local.x] += partial[slot + local.x + step];
    }
  }
  if (local.x == 0 && row < params.rows) {
    output[row] = partial[slot] * params.factor;
  }
}

@compute @workgroup_size(WORKGROUP)
fn spread_rows(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let i = id.x + id.y * groups.x * WORKGROUP;
  if (i < params.rows * params.columns) {
    output[i] = x[i / params.columns] * params.factor;
  }
}

@compute @workgroup_size(WORKGROUP)
fn spread_columns(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let i = id.x + id.y * groups.x * WORKGROUP;
  if (i < params.rows * params.columns) {
    output[i] = params.factor * x[i / params.columns / params.chunk * params.columns + i % params.columns];
  }
}
