// Cross-entropy of rows of logits with target ids. LANES invocations share a row. Targets of IGNORE count for nothing.
//   forward    y[r] = log(sum over c of exp x[r, c]) - x[r, target]
//   statistics three rows of length R: y as above; the entropy of softmax x[r] in nats; 1 where the target has the largest
//              logit, else 0
//   backward   dx[r, c] = grad[r] (exp(x[r, c] - lse) - [c = target]),  lse = y[r] + x[r, target]
// With DFT (https://arxiv.org/abs/2508.05629) each token's loss is weighted by its probability p, a constant:
//   statistics four rows: p y, the entropy, the hit, y
//   backward   `losses` are these four rows, and grad[r] is p times as large
// `grad` has one element for each row, or one for all.

struct Params {
  rows: u32,
  columns: u32,
  grad_step: u32,
}

override LANES: u32 = 64;
override ROWS: u32 = 4;
override DFT: bool = false;

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
  for (var c = local.x; c < params.columns; c += LANES) {
    let below = x[start + c] - largest;
    let weight = exp(below);
    total += weight;
    weighted += weight * below;
  }
  total = row_sum(total, local);
  weighted = row_sum(weighted, local);
  if (local.x != 0 || row >= params.rows) {
    return;
  }
  let label = targets[row];
  if (label == IGNORE) {
    output[row] = 0.0;
    output[params.rows + row] = 0.0;
    output[2u * params.rows + row] = 0.0;
    if (DFT) {
      output[3u * params.rows + row] = 0.0;
    }
    return;
  }
  let chosen = x[start + min(label, params.columns - 1u)];
  let surprise = log(total) + largest - chosen;
  output[row] = surprise;
  if (DFT) {
    output[row] = exp(-surprise) * surprise;
    output[3u * params.rows + row] = surprise;
  }
  output[params.rows + row] = log(total) - weighted / total;
  output[2u * params.rows + row] = select(0.0, 1.0, chosen >= largest);
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
  let surprise = losses[select(0u, 3u * params.rows, DFT) + row];
  let lse = surprise + x[start + min(label, params.columns - 1u)];
  let g = grad[row * params.grad_step] * select(1.0, exp(-surprise), DFT);
  for (var c = local.x; c < params.columns; c += LANES) {
    output[start + c] = g * (exp(x[start + c] - lse) - select(0.0, 1.0, c == label));
  }
}
