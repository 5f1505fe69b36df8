// Cross-entropy of rows of logits with target ids. LANES invocations share a row. Targets of IGNORE count for nothing.
//   forward    y[r] = log(sum over c of exp x[r, c]) - x[r, target]
//   statistics [R, 4]: y as above; the entropy of softmax x[r] in nats; 1 where the target has the largest
//              logit, else 0; the mean of x[r]
//   backward   dx[r, c] = grad[r] (exp(x[r, c] - lse) - [c = target]),  lse = losses[r] + x[r, target]
// `losses` has one element for each row, or is the first column of `statistics`; `grad` one for each
// row, or one for all.

struct Params {
  rows: u32,
  columns: u32,
  grad_step: u32,
  loss_step: u32,
}

override LANES: u32 = 64;
override ROWS: u32 = 4;

const IGNORE = 0xffffffffu;

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> output: array<f32>;
@group(0) @binding(2) var<storage, read> x: array<f32>;
@group(0) @binding(3) var<storage, read> targets: array<u32>;
@group(0) @binding(4) var<storage, read> losses: array<f32>;
@group(0) @binding(5) var<storage, read> grad: array<f32>;

var<workgroup> partial: array<f32, ROWS * LANES>;

fn row_max(value: f32, local: vec3<u32>) -> f32 {
  let slot = local.y * LANES;
  partial[slot + local.x] = value;
  for (var step = LANES / 2; step > 0; step /= 2) {
    workgroupBarrier();
    if (local.x < step) {
      partial[slot + local.x] = max(partial[slot + local.x], partial[slot + local.x + step]);
    }
  }
  return row_result(slot);
}

fn row_sum(value: f32, local: vec3<u32>) -> f32 {
  let slot = local.y * LANES;
  partial[slot + local.x] = value;
  for (var step = LANES / 2; step > 0; step /= 2) {
    workgroupBarrier();
    if (local.x < step) {
      partial[slot + local.x] += partial[slot + local.x + step];
    }
  }
  return row_result(slot);
}

fn row_result(slot: u32) -> f32 {
  if (LANES > 1) {
    workgroupBarrier();
  }
  let result = partial[slot];
  if (LANES > 1) {
    workgroupBarrier();
  }
  return result;
}

fn largest_logit(start: u32, local: vec3<u32>) -> f32 {
  var largest = -3.4028234e38;
  for (var c = local.x; c < params.columns; c += LANES) {
    largest = max(largest, x[start + c]);
  }
  return row_max(largest, local);
}

@compute @workgroup_size(LANES, ROWS)
fn forward(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_id) local: vec3<u32>,
) {
  let row = (group.x + group.y * groups.x) * ROWS + local.y;
  let safe = min(row, params.rows - 1u);
  let start = safe * params.columns;
  let largest = largest_logit(start, local);
  var total = 0.0;
  for (var c = local.x; c < params.columns; c += LANES) {
    total += exp(x[start + c] - largest);
  }
  total = row_sum(total, local);
  if (local.x != 0 || row >= params.rows) {
    return;
  }
  let label = targets[row];
  if (label == IGNORE) {
    output[row] = 0.0;
  } else {
    output[row] = log(total) + largest - x[start + min(label, params.columns - 1u)];
  }
}

@compute @workgroup_size(LANES, ROWS)
fn statistics(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_id) local: vec3<u32>,
) {
  let row = (group.x + group.y * groups.x) * ROWS + local.y;
  let safe = min(row, params.rows - 1u);
  let start = safe * params.columns;
  let largest = largest_logit(start, local);
  var total = 0.0;
  var weighted = 0.0;
  var lower = 0.0;
  for (var c = local.x; c < params.columns; c += LANES) {
    let below = x[start + c] - largest;
    let weight = exp(below);
    total += weight;
    weighted += weight * below;
    lower += below;
  }
  total = row_sum(total, local);
  weighted = row_sum(weighted, local);
  lower = row_sum(lower, local);
  if (local.x != 0 || row >= params.rows) {
    return;
  }
  let label = targets[row];
  if (label == IGNORE) {
    for (var i = 0u; i < 4u; i++) {
      output[4u * row + i] = 0.0;
    }
    return;
  }
  let chosen = x[start + min(label, params.columns - 1u)];
  output[4u * row] = log(total) + largest - chosen;
  output[4u * row + 1u] = log(total) - weighted / total;
  output[4u * row + 2u] = select(0.0, 1.0, chosen >= largest);
  output[4u * row + 3u] = largest + lower / f32(params.columns);
}

@compute @workgroup_size(LANES, ROWS)
fn backward(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_id) local: vec3<u32>,
) {
  let row = (group.x + group.y * groups.x) * ROWS + local.y;
  if (row >= params.rows) {
    return;
  }
  let start = row * params.columns;
  let label = targets[row];
  if (label == IGNORE) {
    for (var c = local.x; c < params.columns; c += LANES) {
      output[start + c] = 0.0;
    }
    return;
  }
  let lse = losses[row * params.loss_step] + x[start + min(label, params.columns - 1u)];
  let g = grad[row * params.grad_step];
  for (var c = local.x; c < params.columns; c += LANES) {
    output[start + c] = g * (exp(x[start + c] - lse) - select(0.0, 1.0, c == label));
  }
}
