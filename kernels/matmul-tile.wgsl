// C = op(A) op(B) (+ bias) (then GELU) (+ C), for GPUs: see matmul.wgsl. One workgroup computes a ROWS x COLUMNS
// tile of C; each of its invocations computes 8 x 8 of it, as four quads of 4 x 4, from shared tiles of A and B.
// While a tile is multiplied the next one is on its way into registers. With several workgroups in z each takes
// `depth` of the inner dimension, and writes a C of its own, one behind the other. An element is one chain of sums
// over the inner dimension, or over each slice of it, whatever the tile. Operands are read by four neighbours,
// which lie as one vec4 where all rows begin at multiples of four.

struct Params {
  rows: u32,
  columns: u32,
  inner: u32,
  a_first: u32,
  a_stride: u32,
  first: u32,
  stride: u32,
  depth: u32,
}

override TRANSPOSE_A: bool = false;
override TRANSPOSE_B: bool = false;
override BIAS: bool = false;
override GELU: bool = false;
override ACCUMULATE: bool = false;
override PLUS: bool = false; // other
override TIMES_GELU: bool = false; // the derivative of GELU at other

const ROWS = 128u;
const COLUMNS = 128u;
const DEPTH = 8u;
const LANES_X = COLUMNS / 8u;
const LANES = LANES_X * ROWS / 8u;
const A_QUADS = ROWS * DEPTH / 4u / LANES;
const B_QUADS = COLUMNS * DEPTH / 4u / LANES;
// Quads from one k to the next, padded against bank conflicts.
const A_STRIDE = ROWS / 4u + 1u;
const B_STRIDE = COLUMNS / 4u + 1u;

alias A = vec4<f32>;
alias B = vec4<f32>;
alias C = vec4<f32>;

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> output: array<C>;
@group(0) @binding(2) var<storage, read> a: array<A>;
@group(0) @binding(3) var<storage, read> b: array<B>;
@group(0) @binding(4) var<storage, read> bias: array<f32>;
@group(0) @binding(5) var<storage, read> other: array<C>;

var<workgroup> a_tile: array<vec4<f32>, DEPTH * A_STRIDE>;
var<workgroup> b_tile: array<vec4<f32>, DEPTH * B_STRIDE>;

// Four neighbours from element i on; of C, no more than `count`.
fn a_quad(i: u32) -> vec4<f32> { return a[i / 4u]; }
fn b_quad(i: u32) -> vec4<f32> { return b[i / 4u]; }
fn c_quad(i: u32) -> vec4<f32> { return output[i / 4u]; }
fn other_quad(i: u32) -> vec4<f32> { return other[i / 4u]; }
fn store_quad(i: u32, count: u32, value: vec4<f32>) { output[i / 4u] = value; }

fn tanh_of_gelu(v: vec4<f32>) -> vec4<f32> {
  let u = 0.7978845608028654 * (v + 0.044715 * v * v * v);
  return tanh(clamp(u, vec4(-15.0), vec4(15.0)));
}

fn gelu(v: vec4<f32>) -> vec4<f32> {
  return 0.5 * v * (1.0 + tanh_of_gelu(v));
}

fn gelu_derivative(v: vec4<f32>) -> vec4<f32> {
  let t = tanh_of_gelu(v);
  return 0.5 * (1.0 + t) + 0.5 * v * (1.0 - t * t) * 0.7978845608028654 * (1.0 + 3.0 * 0.044715 * v * v);
}

// What lies behind `end` counts as zero.
fn within(value: vec4<f32>, k: u32, end: u32) -> vec4<f32> {
  return select(value, vec4(0.0), vec4(k) + vec4(0u, 1u, 2u, 3u) >= vec4(end));
}

// The first of the last quad of so many.
fn last_quad(count: u32) -> u32 {
  return (count - 1u) / 4u * 4u;
}

// Quad q of a tile that begins at k = start and ends within the inner dimension. Rows and columns that are not
// there give those that are,
// which nothing reads. Nothing is asked of what was read: an invocation goes on without waiting for it.
fn load_a(row: u32, start: u32, q: u32) -> vec4<f32> {
  if (TRANSPOSE_A) {
    let r = min(row + 4u * (q % (ROWS / 4u)), last_quad(params.rows));
    return a_quad(params.a_first + (start + q / (ROWS / 4u)) * params.a_stride + r);
  }
  let r = min(row + q / (DEPTH / 4u), params.rows - 1u);
  return a_quad(params.a_first + r * params.a_stride + start + 4u * (q % (DEPTH / 4u)));
}

fn load_b(column: u32, start: u32, q: u32) -> vec4<f32> {
  if (TRANSPOSE_B) {
    let c = min(column + q / (DEPTH / 4u), params.columns - 1u);
    return b_quad(c * params.inner + start + 4u * (q % (DEPTH / 4u)));
  }
  let c = min(column + 4u * (q % (COLUMNS / 4u)), last_quad(params.columns));
  return b_quad((start + q / (COLUMNS / 4u)) * params.columns + c);
}

// The same of a tile that reaches behind `end`.
fn load_last_a(row: u32, start: u32, end: u32, q: u32) -> vec4<f32> {
  if (TRANSPOSE_A) {
    let k = start + q / (ROWS / 4u);
    let r = min(row + 4u * (q % (ROWS / 4u)), last_quad(params.rows));
    return select(vec4(0.0), a_quad(params.a_first + min(k, end - 1u) * params.a_stride + r), k < end);
  }
  let k = start + 4u * (q % (DEPTH / 4u));
  let r = min(row + q / (DEPTH / 4u), params.rows - 1u);
  return within(a_quad(params.a_first + r * params.a_stride + min(k, last_quad(end))), k, end);
}

fn load_last_b(column: u32, start: u32, end: u32, q: u32) -> vec4<f32> {
  if (TRANSPOSE_B) {
    let k = start + 4u * (q % (DEPTH / 4u));
    let c = min(column + q / (DEPTH / 4u), params.columns - 1u);
    return within(b_quad(c * params.inner + min(k, last_quad(end))), k, end);
  }
  let k = start + q / (COLUMNS / 4u);
  let c = min(column + 4u * (q % (COLUMNS / 4u)), last_quad(params.columns));
  return select(vec4(0.0), b_quad(min(k, end - 1u) * params.columns + c), k < end);
}

fn store(out: u32, y: u32, x: u32, sums: vec4<f32>) {
  if (y >= params.rows || x >= params.columns) {
    return;
  }
  var value = sums;
  if (BIAS) {
    let i = min(vec4(x) + vec4(0u, 1u, 2u, 3u), vec4(params.columns - 1u));
    value += vec4(bias[i.x], bias[i.y], bias[i.z], bias[i.w]);
  }
  if (GELU) {
    value = gelu(value);
  }
  let at = out + y * params.stride + x;
  if (PLUS) {
    value += other_quad(at);
  }
  if (TIMES_GELU) {
    value *= gelu_derivative(other_quad(at));
  }
  if (ACCUMULATE) {
    value += c_quad(at);
  }
  store_quad(at, params.columns - x, value);
}

// What an invocation loads of the tiles from k = start on, on its way to shared memory.
struct Next {
  a: array<vec4<f32>, A_QUADS>,
  b: array<vec4<f32>, B_QUADS>,
}

fn load(row: u32, column: u32, start: u32, end: u32, index: u32, next: ptr<function, Next>) {
  if (start + DEPTH <= end) {
    for (var i = 0u; i < A_QUADS; i++) {
      (*next).a[i] = load_a(row, start, index + i * LANES);
    }
    for (var i = 0u; i < B_QUADS; i++) {
      (*next).b[i] = load_b(column, start, index + i * LANES);
    }
  } else if (start < end) {
    for (var i = 0u; i < A_QUADS; i++) {
      (*next).a[i] = load_last_a(row, start, end, index + i * LANES);
    }
    for (var i = 0u; i < B_QUADS; i++) {
      (*next).b[i] = load_last_b(column, start, end, index + i * LANES);
    }
  }
}

// The tiles lie by k, whichever way the operands do.
fn share(index: u32, next: ptr<function, Next>) {
  for (var i = 0u; i < A_QUADS; i++) {
    let q = index + i * LANES;
    let value = (*next).a[i];
    if (TRANSPOSE_A) {
      a_tile[q / (ROWS / 4u) * A_STRIDE + q % (ROWS / 4u)] = value;
    } else {
      let r = q / (DEPTH / 4u);
      let at = 4u * (q % (DEPTH / 4u)) * A_STRIDE + r / 4u;
      a_tile[at][r % 4u] = value.x;
      a_tile[at + A_STRIDE][r % 4u] = value.y;
      a_tile[at + 2u * A_STRIDE][r % 4u] = value.z;
      a_tile[at + 3u * A_STRIDE][r % 4u] = value.w;
    }
  }
  for (var i = 0u; i < B_QUADS; i++) {
    let q = index + i * LANES;
    let value = (*next).b[i];
    if (TRANSPOSE_B) {
      let c = q / (DEPTH / 4u);
      let at = 4u * (q % (DEPTH / 4u)) * B_STRIDE + c / 4u;
      b_tile[at][c % 4u] = value.x;
      b_tile[at + B_STRIDE][c % 4u] = value.y;
      b_tile[at + 2u * B_STRIDE][c % 4u] = value.z;
      b_tile[at + 3u * B_STRIDE][c % 4u] = value.w;
    } else {
      b_tile[q / (COLUMNS / 4u) * B_STRIDE + q % (COLUMNS / 4u)] = value;
    }
  }
}

@compute @workgroup_size(LANES)
fn forward(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) index: u32) {
  let row = group.y * ROWS;
  let column = group.x * COLUMNS;
  let begin = group.z * params.depth;
  let end = min(begin + params.depth, params.inner);
  // 32 neighbouring invocations are 8 x 4, so that they read few and neighbouring quads.
  let tx = index / 32u % (LANES_X / 8u) * 8u + index % 8u;
  let ty = index / 32u / (LANES_X / 8u) * 4u + index / 8u % 4u;

  var next: Next;
  load(row, column, begin, end, index, &next);
  var sums: array<vec4<f32>, 16>;
  for (var start = begin; start < end; start += DEPTH) {
    workgroupBarrier();
    share(index, &next);
    workgroupBarrier();
    load(row, column, start + DEPTH, end, index, &next);
    for (var k = 0u; k < DEPTH; k++) {
      let a0 = a_tile[k * A_STRIDE + ty];
      let a1 = a_tile[k * A_STRIDE + ty + ROWS / 8u];
      let b0 = b_tile[k * B_STRIDE + tx];
      let b1 = b_tile[k * B_STRIDE + tx + COLUMNS / 8u];
      sums[0] += a0.x * b0;
      sums[1] += a0.y * b0;
      sums[2] += a0.z * b0;
      sums[3] += a0.w * b0;
      sums[4] += a1.x * b0;
      sums[5] += a1.y * b0;
      sums[6] += a1.z * b0;
      sums[7] += a1.w * b0;
      sums[8] += a0.x * b1;
      sums[9] += a0.y * b1;
      sums[10] += a0.z * b1;
      sums[11] += a0.w * b1;
      sums[12] += a1.x * b1;
      sums[13] += a1.y * b1;
      sums[14] += a1.z * b1;
      sums[15] += a1.w * b1;
    }
  }

  let out = params.first + group.z * params.rows * params.stride;
  // Written out: sums that are indexed by a loop may end up in memory.
  let y = row + 4u * ty;
  let x = column + 4u * tx;
  store(out, y, x, sums[0]);
  store(out, y + 1u, x, sums[1]);
  store(out, y + 2u, x, sums[2]);
  store(out, y + 3u, x, sums[3]);
  store(out, y + ROWS / 2u, x, sums[4]);
  store(out, y + ROWS / 2u + 1u, x, sums[5]);
  store(out, y + ROWS / 2u + 2u, x, sums[6]);
  store(out, y + ROWS / 2u + 3u, x, sums[7]);
  store(out, y, x + COLUMNS / 2u, sums[8]);
  store(out, y + 1u, x + COLUMNS / 2u, sums[9]);
  store(out, y + 2u, x + COLUMNS / 2u, sums[10]);
  store(out, y + 3u, x + COLUMNS / 2u, sums[11]);
  store(out, y + ROWS / 2u, x + COLUMNS / 2u, sums[12]);
  store(out, y + ROWS / 2u + 1u, x + COLUMNS / 2u, sums[13]);
  store(out, y + ROWS / 2u + 2u, x + COLUMNS / 2u, sums[14]);
  store(out, y + ROWS / 2u + 3u, x + COLUMNS / 2u, sums[15]);
}
