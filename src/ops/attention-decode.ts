/** Attention over a key-value cache, and appending to it: what decoding needs. */
import source from "../../kernels/attention-decode.wgsl" with { type: "text" };
import { linear } from "../device/device";
import { expectShape, matrixOf, ShapeError, sizeOf } from "../tensor/shape";
import { type Tensor, tensor } from "../tensor/tensor";

/** Heads, and channels in a head, of a cache [B, length, 2 C]. */
function formOf(op: string, qkv: Tensor, cache: Tensor, heads: number) {
  const { rows, columns } = matrixOf(op, "qkv", qkv.shape);
  const [B = 0, length = 0, width = 0] = cache.shape;
  const C = columns / 3;
  if (cache.shape.length !== 3 || width !== 2 * C)
    throw new ShapeError(`${op}: cache has shape [${cache.shape}], expected [B, length, ${2 * C}]`);
  if (rows % B !== 0) throw new ShapeError(`${op}: ${rows} rows do not share out over ${B} sequences`);
  if ((C / heads) % 4 !== 0) throw new ShapeError(`${op}: ${C / heads} channels a head, expected a multiple of 4`);
  return { rows, B, length, C, D: C / heads, tokens: rows / B };
}

/** The cache with the keys and values of new rows written from `positions[b]` on, in place. qkv: [B tokens, 3 C]. */
export function cacheAppend(cache: Tensor, qkv: Tensor, positions: Tensor, heads: number): Tensor {
  const { rows, B, length, C, D, tokens } = formOf("cacheAppend", qkv, cache, heads);
  expectShape("cacheAppend", "positions", [sizeOf(positions.shape)], [B]);
  return tensor({
    name: "cacheAppend",
    shape: cache.shape,
    inputs: [cache, qkv, positions],
    inPlace: true,
    reference: (cache, qkv, positions) => {
      const y = cache.slice();
      for (let row = 0; row < rows; row++) {
        const b = Math.floor(row / tokens);
        const position = positions[b]! + (row % tokens);
        if (position < length) y.set(qkv.subarray(row * 3 * C + C, (row + 1) * 3 * C), (b * length + position) * 2 * C);
      }
      return y;
    },
    dispatch: () => ({
      kernel: { name: "attention-decode", source, entry: "append", specialize: { HEAD: `${D / 4}u` } },
      params: { rows, tokens, heads, length, scale: 1 },
      workgroups: linear((rows * 2 * C) / 4, 64),
    }),
  });
}

/** Each sequence's one new query over the keys 0..positions[b] of its cache: [B, 3 C] -> [B, C]. */
export function attentionDecode(qkv: Tensor, positions: Tensor, cache: Tensor, heads: number): Tensor {
  const { rows, B, length, C, D } = formOf("attentionDecode", qkv, cache, heads);
  expectShape("attentionDecode", "qkv", qkv.shape, [B, 3 * C]);
  return tensor({
    name: "attentionDecode",
    shape: [B, C],
    inputs: [qkv, positions, cache],
    reference: (qkv, positions, cache) => {
      const y = new Float64Array(B * C);
      for (let b = 0; b < B; b++) {
        for (let h = 0; h < heads; h++) {
          const at = (t: number, c: number) => cache[(b * length + t) * 2 * C + c]!;
          const scores = Array.from({ length: Math.min(positions[b]! + 1, length) }, (_, t) => {
            let score = 0;
            for (let c = h * D; c < (h + 1) * D; c++) score += qkv[b * 3 * C + c]! * at(t, c);
            return score / Math.sqrt(D);
          });
          const largest = Math.max(...scores);
          const weights = scores.map((s) => Math.exp(s - largest));
          const total = weights.reduce((a, b) => a + b, 0);
          weights.forEach((weight, t) => {
            for (let c = h * D; c < (h + 1) * D; c++) y[b * C + c]! += (weight / total) * at(t, C + c);
          });
        }
      }
      return y;
    },
    dispatch: ({ software }) => ({
      kernel: {
        name: "attention-decode",
        source,
        entry: "forward",
        constants: { LANES: software ? 8 : 32 },
        specialize: { HEAD: `${D / 4}u` },
      },
      params: { rows, tokens: 1, heads, length, scale: 1 / Math.sqrt(D) },
      workgroups: [heads, B, 1],
    }),
  });
}
