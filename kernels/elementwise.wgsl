// y = f(a) and y = f(a, b), element by element: OPERATION says which f. One invocation computes one element.
//   unary    f of one tensor, with up to two numbers p and q
//   binary   f of two; a tensor of one element has step 0, so that it meets every element of the other

struct Params {
  count: u32,
  p: f32,
  q: f32,
  a_step: u32,
  b_step: u32,
}

override WORKGROUP: u32 = 256;
override OPERATION: u32 = 0;

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> output: array<f32>;
@group(0) @binding(2) var<storage, read> a: array<f32>;
@group(0) @binding(3) var<storage, read> b: array<f32>;

// 1 / (1 + exp(-x)). exp sees no positive number, so nothing overflows.
fn sigmoid(x: f32) -> f32 {
  let e = exp(-abs(x));
  return select(e, 1.0, x >= 0.0) / (1.0 + e);
}

// 2 artanh z = log((1 + z) / (1 - z)) for |z| up to 1/3.
fn twice_artanh(z: f32) -> f32 {
  let s = z * z;
  let tail = 1.0 / 9 + s * (1.0 / 11 + s * (1.0 / 13 + s * (1.0 / 15)));
  return 2.0 * z * (1.0 + s * (1.0 / 3 + s * (1.0 / 5 + s * (1.0 / 7 + s * tail))));
}

// log(1 + e) for e in [0, 1], right where e is lost beside 1.
fn log_one_plus(e: f32) -> f32 {
  return twice_artanh(e / (2.0 + e));
}

// Near 1, where WGSL promises but an absolute error, by the series.
fn logarithm(x: f32) -> f32 {
  return select(log(x), twice_artanh((x - 1.0) / (x + 1.0)), x > 0.7 && x < 1.4);
}

// The order is that of src/ops/elementwise.ts.
fn unary_of(x: f32) -> f32 {
  switch OPERATION {
    case 0u: { return x * params.p; } // scale
    case 1u: { return x + params.p; } // shift
    case 2u: { return exp(x); }
    case 3u: { return logarithm(x); } // log
    case 4u: { return sigmoid(x); }
    case 5u: { return min(x, 0.0) - log_one_plus(exp(-abs(x))); } // logSigmoid
    case 6u: { return max(x, 0.0); } // relu
    case 7u: { return x * x; } // square
    case 8u: { return sqrt(x); }
    case 9u: { return abs(x); }
    case 10u: { return sign(x); }
    case 11u: { return clamp(x, params.p, params.q); }
    default: { return select(0.0, 1.0, x >= params.p && x <= params.q); } // inside
  }
}

fn binary_of(x: f32, y: f32) -> f32 {
  switch OPERATION {
    case 0u: { return x + y; } // add
    case 1u: { return x - y; } // subtract
    case 2u: { return x * y; } // multiply
    case 3u: { return x / y; } // divide
    case 4u: { return min(x, y); } // minimum
    case 5u: { return max(x, y); } // maximum
    case 6u: { return select(0.0, 1.0, x <= y); } // atMost
    default: { return select(0.0, 1.0, x > y); } // above
  }
}

@compute @workgroup_size(WORKGROUP)
fn unary(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let i = id.x + id.y * groups.x * WORKGROUP;
  if (i < params.count) {
    output[i] = unary_of(a[i]);
  }
}

@compute @workgroup_size(WORKGROUP)
fn binary(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let i = id.x + id.y * groups.x * WORKGROUP;
  if (i < params.count) {
    output[i] = binary_of(a[i * params.a_step], b[i * params.b_step]);
  }
}
