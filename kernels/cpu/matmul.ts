// C = op(A) op(B) (+ bias) (then GELU) (+ C). A may be a run of columns of a wider matrix, from a_first on with rows a_stride
// apart, and so may C. A unit is a block of C.
import {
  ACCUMULATE, BIAS, constant, GELU, input, native, output, param, STORED, take, threads, TRANSPOSE_A, TRANSPOSE_B,
} from "./job";
import { areFew } from "./few";
import { geluRun } from "./gelu";
import { isQuantised, NF4 } from "./math";
import { COLUMNS, ROWS, WIDTH } from "./pack";
import { product } from "./product";

export function forward(job: usize): void {
  const rows = param(job, 0);
  const columns = param(job, 1);
  const inner = param(job, 2);
  const transposeA = constant(job, TRANSPOSE_A) != 0;
  const transposeB = constant(job, TRANSPOSE_B) != 0;
  const kind = constant(job, STORED);
  const aStride = param(job, 4);
  const stride = param(job, 6);
  const aRow: u32 = transposeA ? 1 : aStride;
  const aColumn: u32 = transposeA ? aStride : 1;
  const bRow: u32 = transposeB ? 1 : columns;
  const bColumn: u32 = transposeB ? inner : 1;
  const accumulate = constant(job, ACCUMULATE) != 0;
  // The sum of an old C and a GELU has no place for the product: no op asks for it.
  if (accumulate && constant(job, GELU)) unreachable();

  // Words of several steps of one column lie in rows, whichever way B is said to.
  const straight = isQuantised(kind) ? transposeB && kind != NF4 && (inner & 7) == 0 : !transposeB;
  const shape = shapeOf(rows, columns, transposeA, transposeB, straight);
  const height = shape >> 16;
  const width = shape & 0xffff;
  const down = (rows + height - 1) / height;
  const across = (columns + width - 1) / width;
  const units = down * across;
  for (let unit = take(job, 1); unit < units; unit = take(job, 1)) {
    const i = (unit % down) * height;
    const j = (unit / down) * width;
    const high = min(height, rows - i);
    const wide = min(width, columns - j);
    const c = output(job) + ((<usize>param(job, 5) + <usize>i * stride + j) << 2);
    const a = input(job, 0) + ((<usize>param(job, 3) + <usize>i * aRow) << 2);
    const first = <usize>j * bColumn;
    const bias = constant(job, BIAS) ? input(job, 2) + (<usize>j << 2) : 0;
    product(
      high, wide, inner, a, aRow, aColumn, input(job, 1), bRow, bColumn, c, stride, accumulate, bias,
      kind, <usize>columns * inner, first,
    );
    if (constant(job, GELU)) {
      for (let r: u32 = 0; r < high; r++) {
        const row = c + ((<usize>r * stride) << 2);
        geluRun(row, row, wide);
      }
    }
  }
}

/** The largest block: its part of B, and of C, stay in the second cache. */
const TALLEST: u32 = 384;
const WIDEST: u32 = 512;

/**
 * Height and width of the blocks (height << 16 | width) for which the last thread is expected to be done first. Costs are in
 * cycles for one step along the inner dimension: 6 for a tile, 8 to pack a strip of A, 3 or 5 to pack a panel of B. Machine code reads
 * A where it lies, or packs a strip in 2.
 */
function shapeOf(rows: u32, columns: u32, transposeA: bool, transposeB: bool, straight: bool): u32 {
  // Rows of B that are read where they lie are read in long runs.
  if (areFew(rows) && !transposeA && straight) {
    const runs = threads * ((columns + WIDTH * threads - 1) / (WIDTH * threads));
    return (rows << 16) | roundUp((columns + runs - 1) / runs, 16);
  }
  const panel = native ? 2 * COLUMNS : COLUMNS;
  const strip: u32 = !native ? 8 : transposeA ? 2 : 0;
  let best: u32 = 0;
  let least = u64.MAX_VALUE;
  for (let down = (rows + TALLEST - 1) / TALLEST; ; down++) {
    const height = roundUp((rows + down - 1) / down, ROWS);
    for (let across = (columns + WIDEST - 1) / WIDEST; ; across++) {
      const width = roundUp((columns + across - 1) / across, panel);
      const strips = height / ROWS;
      const panels = width / panel;
      const unit = 6 * strips * panels + strip * strips + (transposeB ? 5 : 3) * panels;
      const units = ((rows + height - 1) / height) * ((columns + width - 1) / width);
      // Threads do not run at one speed: on average the last one has a part of a unit left.
      const cost = <u64>(4 * ((units + threads - 1) / threads) + 1) * unit;
      if (cost < least) {
        least = cost;
        best = (height << 16) | width;
      }
      if (width <= 64 || units > 16 * threads && across > 1) break;
    }
    if (height <= 24 || down > 16 * threads) break;
  }
  return best;
}

@inline
function roundUp(v: u32, to: u32): u32 {
  return ((v + to - 1) / to) * to;
}
