// C = op(A) op(B) (+ bias) (then GELU) (+ C). One workgroup computes a 64 x 64 tile of C from shared tiles of A and B;
// each of its 256 invocations computes 4 x 4 of it, in registers. A may be a run of columns of a wider matrix, from
// a_first on with rows a_stride apart, and so may C.

struct Params {
  rows: u32,
  columns: u32,
  inner: u32,
  a_first: u32,
  a_stride: u32,
  first: u32,
  stride: u32,
}

override TRANSPOSE_A: bool = false;
override TRANSPOSE_B: bool = false;
override BIAS: bool = false;
override GELU: bool = false;
override ACCUMULATE: bool = false;
override STORED: u32 = 0; // how B is stored: 0 in float32, 1 in bfloat16, 2 in float16, 3 in nf4, 4 in int8, 5 in int4

const TILE = 64u;
const DEPTH = 16u;
const SIDE = 16u;
const STRIDE = 65u; // padded against bank conflicts

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> output: array<f32>;
@group(0) @binding(2) var<storage, read> a: array<f32>;
@group(0) @binding(3) var<storage, read> b: array<u32>;
@group(0) @binding(4) var<storage, read> bias: array<f32>;

var<workgroup> a_tile: array<f32, DEPTH * STRIDE>;
var<workgroup> b_tile: array<f32, DEPTH * STRIDE>;

fn gelu(v: f32) -> f32 {
  let u = 0.7978845608028654 * (v + 0.044715 * v * v * v);
  return 0.5 * v * (1.0 + tanh(clamp(u, -15.0, 15.0)));
}

fn byte_at(word: u32, i: u32) -> u32 {
  return (b[word + i / 4u] >> (8u * (i % 4u))) & 255u;
}

// Two elements a byte, the first in the high half; each block of 64 has a scale, itself 8 bits of a map, times a scale
// for 256 blocks, plus an offset. src/tensor/stored.ts says where the parts lie.
fn nf4_at(i: u32) -> f32 {
  let count = params.inner * params.columns;
  let blocks = (count + 63u) / 64u;
  let scales = (count + 7u) / 8u;
  let map = scales + (blocks + 3u) / 4u;
  let nested = map + 272u;
  let offset = nested + (blocks + 255u) / 256u;
  let block = i / 64u;
  let code = (byte_at(0u, i / 2u) >> (4u * (1u - i % 2u))) & 15u;
  let of_scale = bitcast<f32>(b[map + 16u + byte_at(scales, block)]);
  let scale = of_scale * bitcast<f32>(b[nested + block / 256u]) + bitcast<f32>(b[offset]);
  return bitcast<f32>(b[map + code]) * scale;
}

// Four columns of a row a word, the words of the same four of all rows together; behind them a scale for each row.
fn int8_at(row: u32, k: u32) -> f32 {
  let rows = select(params.inner, params.columns, TRANSPOSE_B);
  let width = select(params.columns, params.inner, TRANSPOSE_B);
  let scale = bitcast<f32>(b[(width + 3u) / 4u * rows + row]);
  return f32(i32(b[k / 4u * rows + row] << (24u - 8u * (k % 4u))) >> 24u) * scale;
}

fn half_at(word: u32, i: u32) -> f32 {
  return unpack2x16float(b[word + i / 2u])[i % 2u];
}

// Eight columns of a row a word; behind them a scale for each 64 columns of each row, and as many least values.
fn int4_at(row: u32, k: u32) -> f32 {
  let rows = select(params.inner, params.columns, TRANSPOSE_B);
  let width = select(params.columns, params.inner, TRANSPOSE_B);
  let scales = (width + 7u) / 8u * rows;
  let least = scales + ((width + 63u) / 64u * rows + 1u) / 2u;
  let group = k / 64u * rows + row;
  let code = (b[k / 8u * rows + row] >> (4u * (k % 8u))) & 15u;
  return f32(code) * half_at(scales, group) + half_at(least, group);
}

// The element of B as it lies. Two 16-bit numbers lie in a word. bfloat16 is the upper half of a float32.
fn b_at(row: u32, k: u32) -> f32 {
  let i = row * select(params.columns, params.inner, TRANSPOSE_B) + k;
  if (STORED == 1u) {
    return bitcast<f32>((b[i / 2u] >> (16u * (i % 2u))) << 16u);
  }
  if (STORED == 2u) {
    return unpack2x16float(b[i / 2u])[i % 2u];
  }
  if (STORED == 3u) {
    return nf4_at(i);
  }
  if (STORED == 4u) {
    return int8_at(row, k);
  }
  if (STORED == 5u) {
    return int4_at(row, k);
  }
  return bitcast<f32>(b[i]);
}

// Neighbouring invocations read neighbouring addresses, whichever way the operand lies.
fn load_tiles(row: u32, column: u32, start: u32, local: u32) {
  for (var i = local; i < TILE * DEPTH; i += SIDE * SIDE) {
    let a_row = select(i / DEPTH, i % TILE, TRANSPOSE_A);
    let a_k = select(i % DEPTH, i / TILE, TRANSPOSE_A);
    var value = 0.0;
    if (row + a_row < params.rows && start + a_k < params.inner) {
      value = a[params.a_first + select(
        (row + a_row) * params.a_stride + start + a_k,
        (start + a_k) * params.a_stride + row + a_row,
        TRANSPOSE_A,
      )];
    }
    a_tile[a_k * STRIDE + a_row] = value;

    let b_column = select(i % TILE, i / DEPTH, TRANSPOSE_B);
    let b_k = select(i / TILE, i % DEPTH, TRANSPOSE_B);
    value = 0.0;
    if (column + b_column < params.columns && start + b_k < params.inner) {
      let k = start + b_k;
      let x = column + b_column;
      value = b_at(select(k, x, TRANSPOSE_B), select(x, k, TRANSPOSE_B));
    }
    b_tile[b_k * STRIDE + b_column] = value;
  }
}

@compute @workgroup_size(SIDE, SIDE)
fn forward(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(local_invocation_id) local: vec3<u32>,
  @builtin(local_invocation_index) index: u32,
) {
  let row = group.y * TILE;
  let column = group.x * TILE;
  var sums: array<vec4<f32>, 4>;
  for (var start = 0u; start < params.inner; start += DEPTH) {
    load_tiles(row, column, start, index);
    workgroupBarrier();
    for (var k = 0u; k < DEPTH; k++) {
      let at_b = k * STRIDE + local.x;
      let values = vec4(b_tile[at_b], b_tile[at_b + SIDE], b_tile[at_b + 2 * SIDE], b_tile[at_b + 3 * SIDE]);
      for (var r = 0u; r < 4u; r++) {
        sums[r] += a_tile[k * STRIDE + local.y + r * SIDE] * values;
      }
    }
    workgroupBarrier();
  }

  for (var r = 0u; r < 4u; r++) {
    let y = row + local.y + r * SIDE;
    for (var j = 0u; j < 4u; j++) {
      let x = column + local.x + j * SIDE;
      if (y < params.rows && x < params.columns) {
        var value = sums[r][j];
        if (BIAS) {
          value += bias[x];
        }
        if (GELU) {
          value = gelu(value);
        }
        let at = params.first + y * params.stride + x;
        if (ACCUMULATE) {
          value += output[at];
        }
        output[at] = value;
      }
    }
  }
}
