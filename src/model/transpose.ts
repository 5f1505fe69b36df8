/** A matrix turned round, in main memory. */
import type { Shape } from "../tensor/shape";

/** Sides of the squares that a matrix is transposed by, so that both ways stay in the cache. */
const TILE = 32;

/** [a, b] -> [b, a]. */
export function transposed(values: Float32Array, [rows = 0, columns = 0]: Shape): Float32Array<ArrayBuffer> {
  const y = new Float32Array(values.length);
  for (let top = 0; top < rows; top += TILE) {
    const bottom = Math.min(top + TILE, rows);
    for (let left = 0; left < columns; left += TILE) {
      const right = Math.min(left + TILE, columns);
      for (let r = top; r < bottom; r++) for (let c = left; c < right; c++) y[c * rows + r] = values[r * columns + c]!;
    }
  }
  return y;
}
