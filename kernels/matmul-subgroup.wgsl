enable subgroups;

// C = op(A) op(B) (+ bias) (then GELU) (+ C): for devices where loads are dear and a workgroup is one subgroup.
// One workgroup computes ROWS x (4 LANES) of C without a barrier. Each lane loads one column of A for all rows, and the
// lanes pass their values round by shuffles; lane l holds the columns l, l + LANES, l + 2 LANES and l + 3 LANES.
// A may be a run of columns of a wider matrix, from a_first on with rows a_stride apart, and so may C.

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
override LANES: u32 = 8;

const ROWS = 32u;

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> output: array<f32>;
@group(0) @binding(2) var<storage, read> a: array<f32>;
@group(0) @binding(3) var<storage, read> b: array<u32>;
@group(0) @binding(4) var<storage, read> bias: array<f32>;

fn gelu(v: vec4<f32>) -> vec4<f32> {
  let u = 0.7978845608028654 * (v + 0.044715 * v * v * v);
  return 0.5 * v * (1.0 + tanh(clamp(u, vec4(-15.0), vec4(15.0))));
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

@compute @workgroup_size(LANES)
fn forward(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
  let lane = local.x;
  let row = group.y * ROWS;
  let column = vec4(group.x * 4u * LANES + lane) + vec4(0u, 1u, 2u, 3u) * LANES;
  let last = vec4(params.columns - 1u);
  let safe = min(column, last);

  // Addresses are row * row_step + inner * inner_step; rows and columns past the end read the last one, unstored.
  let a_row_step = select(params.a_stride, 1u, TRANSPOSE_A);
  let a_inner_step = select(1u, params.a_stride, TRANSPOSE_A);

  var sums: array<vec4<f32>, ROWS>;
  for (var start = 0u; start < params.inner; start += LANES) {
    let k = min(start + lane, params.inner - 1u);
    let inside = select(0.0, 1.0, start + lane < params.inner);
    var mine: array<f32, ROWS>;
    for (var r = 0u; r < ROWS; r++) {
      mine[r] = inside * a[params.a_first + min(row + r, params.rows - 1u) * a_row_step + k * a_inner_step];
    }
    let count = min(LANES, params.inner - start);
    for (var i = 0u; i < count; i++) {
      let k = vec4(start + i);
      let b_row = select(k, safe, vec4<bool>(TRANSPOSE_B));
      let b_k = select(safe, k, vec4<bool>(TRANSPOSE_B));
      let values = vec4(
        b_at(b_row.x, b_k.x),
        b_at(b_row.y, b_k.y),
        b_at(b_row.z, b_k.z),
        b_at(b_row.w, b_k.w),
      );
      for (var r = 0u; r < ROWS; r++) {
        sums[r] += subgroupShuffle(mine[r], i) * values;
      }
    }
  }

  var added = vec4(0.0);
  if (BIAS) {
    added = vec4(bias[safe.x], bias[safe.y], bias[safe.z], bias[safe.w]);
  }
  for (var r = 0u; r < ROWS; r++) {
    if (row + r >= params.rows) {
      break;
    }
    var value = sums[r] + added;
    if (GELU) {
      value = gelu(value);
    }
    let at = params.first + (row + r) * params.stride + column;
    for (var j = 0u; j < 4u; j++) {
      if (column[j] < params.columns) {
        if (ACCUMULATE) {
          output[at[j]] += value[j];
        } else {
          output[at[j]] = value[j];
        }
      }
    }
  }
}
