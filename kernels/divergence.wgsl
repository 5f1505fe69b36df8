// The generalised Jensen-Shannon divergence of rows of logits, student and teacher, with p = softmax(student),
// q = softmax(teacher) and m = (1 - beta) p + beta q. LANES invocations share a row. Rows whose target is IGNORE
// count for nothing.
//   beta 0   value = sum q (log q - log p)                  d = p - q
//   beta 1   value = sum p (log p - log q)                  d = p (log p - log q - value)
//   between  value = sum beta q (log q - log m) + (1 - beta) p (log p - log m)
//            d = (1 - beta) p (log p - log m - inner)       inner = sum p (log p - log m)
//   statistics [R, 4]: value; log-sum-exp of the student's row, and of the teacher's; inner (beta 1: value; beta 0: 0)
//   backward   dx[r, c] = grad[r] d[r, c]
// With u = log q - log p, log m - log p = log((1 - beta) + beta exp u): zero where both agree.

struct Params {
  rows: u32,
  columns: u32,
  grad_step: u32,
  beta: f32,
}

override LANES: u32 = 64;
override ROWS: u32 = 4;

const IGNORE = 0xffffffffu;
const FAR = 80.0; // beyond, exp would overflow, and what it is multiplied by is 0

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> output: array<f32>;
@group(0) @binding(2) var<storage, read> student: array<f32>;
@group(0) @binding(3) var<storage, read> teacher: array<f32>;
@group(0) @binding(4) var<storage, read> targets: array<u32>;
@group(0) @binding(5) var<storage, read> known: array<f32>;
@group(0) @binding(6) var<storage, read> grad: array<f32>;

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

fn mixture(apart: f32) -> f32 {
  return log((1.0 - params.beta) + params.beta * exp(apart));
}

@compute @workgroup_size(LANES, ROWS)
fn statistics(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_id) local: vec3<u32>,
) {
  let row = (group.x + group.y * groups.x) * ROWS + local.y;
  let start = min(row, params.rows - 1u) * params.columns;
  var largest_s = -3.4028234e38;
  var largest_t = -3.4028234e38;
  for (var c = local.x; c < params.columns; c += LANES) {
    largest_s = max(largest_s, student[start + c]);
    largest_t = max(largest_t, teacher[start + c]);
  }
  largest_s = row_max(largest_s, local);
  largest_t = row_max(largest_t, local);
  var total_s = 0.0;
  var total_t = 0.0;
  for (var c = local.x; c < params.columns; c += LANES) {
    total_s += exp(student[start + c] - largest_s);
    total_t += exp(teacher[start + c] - largest_t);
  }
  let lse_s = log(row_sum(total_s, local)) + largest_s;
  let lse_t = log(row_sum(total_t, local)) + largest_t;
  var value = 0.0;
  var inner = 0.0;
  for (var c = local.x; c < params.columns; c += LANES) {
    let log_p = student[start + c] - lse_s;
    let log_q = teacher[start + c] - lse_t;
    let p = exp(log_p);
    let q = exp(log_q);
    if (params.beta == 0.0) {
      value += q * (log_q - log_p);
    } else if (params.beta == 1.0) {
      value += p * (log_p - log_q);
    } else {
      let apart = clamp(log_q - log_p, -FAR, FAR);
      let mixed = mixture(apart);
      value += params.beta * q * (apart - mixed) - (1.0 - params.beta) * p * mixed;
      inner -= p * mixed;
    }
  }
  value = row_sum(value, local);
  inner = row_sum(inner, local);
  if (local.x != 0 || row >= params.rows) {
    return;
  }
  if (targets[row] == IGNORE) {
    for (var i = 0u; i < 4u; i++) {
      output[4u * row + i] = 0.0;
    }
    return;
  }
  output[4u * row] = value;
  output[4u * row + 1u] = lse_s;
  output[4u * row + 2u] = lse_t;
  output[4u * row + 3u] = select(inner, value, params.beta == 1.0);
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
  if (targets[row] == IGNORE) {
    for (var c = local.x; c < params.columns; c += LANES) {
      output[start + c] = 0.0;
    }
    return;
  }
  let lse_s = known[4u * row + 1u];
  let lse_t = known[4u * row + 2u];
  let inner = known[4u * row + 3u];
  let g = grad[row * params.grad_step];
  for (var c = local.x; c < params.columns; c += LANES) {
    let log_p = student[start + c] - lse_s;
    let log_q = teacher[start + c] - lse_t;
    let p = exp(log_p);
    var d: f32;
    if (params.beta == 0.0) {
      d = p - exp(log_q);
    } else if (params.beta == 1.0) {
      d = p * (log_p - log_q - inner);
    } else {
      d = (params.beta - 1.0) * p * (mixture(clamp(log_q - log_p, -FAR, FAR)) + inner);
    }
    output[start + c] = g * d;
  }
}
