/**
 * The scale and the least value of an int4 group whose error counts more where its inputs are large: least squares weighted by the mean
 * square of each input, which is what a layer's output is off by. Candidates as llama.cpp's make_qkx2_quants (ggml/src/ggml-quants.c).
 */
/** The largest code. */
export const INT4_LEVELS = 15;

/** Ranges that are tried: the largest code at so many levels above the least value, of 15. */
const FIRST = -2;
const LAST = 4;
const STEP = 0.5;

export interface Fit {
  readonly scale: number;
  readonly least: number;
}

/** Of values and what the square of each one's error counts. Both numbers as float16 holds them. */
export function fitInt4(values: Float32Array, counts: Float64Array, { scale, least }: Fit): Fit {
  const codes = new Float64Array(values.length);
  const errorOf = (fit: Fit) => {
    let error = 0;
    for (let i = 0; i < values.length; i++) {
      const code = fit.scale === 0 ? 0 : clamped((values[i]! - fit.least) / fit.scale);
      error += counts[i]! * (values[i]! - fit.least - code * fit.scale) ** 2;
    }
    return error;
  };
  let best: Fit = { scale, least };
  if (scale === 0) return best;
  let lowest = errorOf(best);
  for (let levels = INT4_LEVELS + FIRST; levels <= INT4_LEVELS + LAST; levels += STEP) {
    const step = (INT4_LEVELS * scale) / levels;
    let [n, c, cc, v, cv] = [0, 0, 0, 0, 0];
    for (let i = 0; i < values.length; i++) {
      const code = clamped((values[i]! - least) / step);
      codes[i] = code;
      const w = counts[i]!;
      n += w;
      c += w * code;
      cc += w * code * code;
      v += w * values[i]!;
      cv += w * code * values[i]!;
    }
    const determinant = n * cc - c * c;
    if (!(determinant > 0)) continue;
    const fit = {
      scale: Math.f16round((n * cv - c * v) / determinant),
      least: Math.f16round((cc * v - c * cv) / determinant),
    };
    if (!(fit.scale > 0) || !Number.isFinite(fit.scale) || !Number.isFinite(fit.least)) continue;
    const error = errorOf(fit);
    if (error < lowest) [best, lowest] = [fit, error];
  }
  return best;
}

function clamped(v: number): number {
  return Math.min(INT4_LEVELS, Math.max(0, Math.round(v)));
}
