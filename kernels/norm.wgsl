// The norm of all gradients, in a fixed order, and whether anything in them is NaN or infinite.
//   partial   sums[first + w] = sum of squares over workgroup w's share of a window of the slab; an element that is not
//             finite counts as `limit`. One workgroup computes one sum.
//   finish    norm = sqrt(sum of sums); the clip factor; and, once a norm or a loss is not finite, the step that it
//             was. One workgroup computes all.
// stats: norm, clip factor, 1 + the first bad step (0: none).  schedule: lr, 1 - beta1^t, 1 - beta2^t, step.

struct Params {
  count: u32,
  first: u32,
  clip: f32,
  limit: f32,
}

override LANES: u32 = 64;

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> output: array<f32>;
@group(0) @binding(2) var<storage, read> values: array<f32>;
@group(0) @binding(3) var<storage, read> schedule: array<f32>;
@group(0) @binding(4) var<storage, read> loss: array<f32>;

var<workgroup> sums: array<f32, LANES>;

// By bits: compilers may assume that NaN and infinity do not exist.
fn finite(v: f32) -> bool {
  return (bitcast<u32>(v) & 0x7fffffffu) < 0x7f800000u;
}

fn total_of(value: f32, lane: u32) -> f32 {
  sums[lane] = value;
  for (var step = LANES / 2; step > 0; step /= 2) {
    workgroupBarrier();
    if (lane < step) {
      sums[lane] += sums[lane + step];
    }
  }
  return sums[0];
}

@compute @workgroup_size(LANES)
fn partial(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_id) local: vec3<u32>,
) {
  // Four at a time are on their way.
  let step = groups.x * LANES;
  var squares = vec4(0.0);
  for (var i = group.x * LANES + local.x; i < params.count; i += 4u * step) {
    let at = vec4(i) + vec4(0u, 1u, 2u, 3u) * step;
    let safe = min(at, vec4(params.count - 1u));
    let v = vec4(values[safe.x], values[safe.y], values[safe.z], values[safe.w]);
    let counted = select(vec4(params.limit), v * v, vec4(finite(v.x), finite(v.y), finite(v.z), finite(v.w)));
    squares += select(vec4(0.0), counted, at < vec4(params.count));
  }
  let total = total_of(squares.x + squares.y + squares.z + squares.w, local.x);
  if (local.x == 0) {
    output[params.first + group.x] = total;
  }
}

@compute @workgroup_size(LANES)
fn finish(@builtin(local_invocation_id) local: vec3<u32>) {
  var squares = 0.0;
  var bad = 0.0;
  for (var i = local.x; i < params.count; i += LANES) {
    squares += values[i];
    bad += select(1.0, 0.0, finite(values[i]) && values[i] < params.limit);
  }
  let total = total_of(squares, local.x);
  workgroupBarrier();
  let wrong = total_of(bad, local.x);
  if (local.x != 0) {
    return;
  }
  let norm = sqrt(total);
  output[0] = norm;
  output[1] = select(1.0, min(1.0, params.clip / (norm + 1e-6)), params.clip > 0.0);
  if (output[2] == 0.0 && (wrong > 0.0 || !finite(loss[0]))) {
    output[2] = schedule[3] + 1.0;
  }
}
