/** Attention over a key-value cache, and what writes to it: what decoding needs. */
import source from "../../kernels/attention-decode.wgsl" with { type: "text" };
import { linear } from "../device/device";
import { expectShape, matrixOf, ShapeError } from "../tensor/shape";
import { type Tensor, tensor } from "../tensor/tensor";

/** The slot of a row that is none: nothing is read or written for it, and its result is zero. */
export const NO_SLOT = 0xffff_ffff;

/** Where the new tokens of R sequences go. */
export interface CachePlaces {
  /** Whose part of the cache it is, all different: [R] (u32). NO_SLOT: nobody's. */
  readonly slots: Tensor;
  /** The position of each sequence's first new token: [R] (u32). */
  readonly positions: Tensor;
}

/** Rows and tokens of qkv [rows tokens, 3 C], and the cache [slots, length, 2 C]. */
function formOf(op: string, qkv: Tensor, cache: Tensor, { slots, positions }: CachePlaces, heads: number) {
  const { rows: all, columns } = matrixOf(op, "qkv", qkv.shape);
  const [count = 0, length = 0, width = 0] = cache.shape;
  const [rows = 0] = slots.shape;
  const C = columns / 3;
  if (cache.shape.length !== 3 || width !== 2 * C)
    throw new ShapeError(`${op}: cache has shape [${cache.shape}], expected [slots, length, ${2 * C}]`);
  expectShape(op, "positions", positions.shape, [rows]);
  if (all % rows !== 0) throw new ShapeError(`${op}: ${all} rows do not share out over ${rows} sequences`);
  if ((C / heads) % 4 !== 0) throw new ShapeError(`${op}: ${C / heads} channels a head, expected a multiple of 4`);
  return { all, count, length, C, D: C / heads, tokens: all / rows };
}

/**
 * The cache with keys and values of T new tokens a sequence written from its position on, in place: [slots, length, 2 C],
 * qkv [R T, 3 C]. What would pass the end is not written.
 */
export function cacheAppend(cache: Tensor, qkv: Tensor, places: CachePlaces, heads: number): Tensor {
  const { all, count, length, C, D, tokens } = formOf("cacheAppend", qkv, cache, places, heads);
  return tensor({
    name: "cacheAppend",
    shape: cache.shape,
    inputs: [cache, qkv, places.slots, places.positions],
    inPlace: true,
    reference: (cache, qkv, slots, positions) => {
      const y = cache.slice();
      for (let row = 0; row < all; row++) {
        const r = Math.floor(row / tokens);
        const position = positions[r]! + (row % tokens);
        if (slots[r]! >= count || position >= length) continue;
        y.set(qkv.subarray(row * 3 * C + C, (row + 1) * 3 * C), (slots[r]! * length + position) * 2 * C);
      }
      return y;
    },
    dispatch: () => ({
      kernel: { name: "attention-decode", source, entry: "append", specialize: { HEAD: `${D / 4}u` } },
      params: { rows: all, tokens, heads, slots: count, length, scale: 1 },
      workgroups: linear((all * 2 * C) / 4, 64),
    }),
  });
}

/** The cache with the first positions of one slot copied to another, in place. `move`: from, to and how many: [3] (u32). */
export function cacheCopy(cache: Tensor, move: Tensor): Tensor {
  const [count = 0, length = 0, width = 0] = cache.shape;
  if (cache.shape.length !== 3 || width % 8 !== 0)
    throw new ShapeError(`cacheCopy: cache has shape [${cache.shape}], expected [slots, length, 2 C]`);
  expectShape("cacheCopy", "move", move.shape, [3]);
  return tensor({
    name: "cacheCopy",
    shape: cache.shape,
    inputs: [cache, move],
    inPlace: true,
    reference: (cache, move) => {
      const [from = 0, to = 0, positions = 0] = move;
      const y = cache.slice();
      const first = from * length * width;
      y.set(cache.subarray(first, first + Math.min(positions, length) * width), to * length * width);
      return y;
    },
    dispatch: () => ({
      kernel: { name: "attention-decode", source, entry: "copy", specialize: { HEAD: `${width / 8}u` } },
      params: { rows: 1, tokens: 1, heads: 1, slots: count, length, scale: 1 },
      workgroups: linear((length * width) / 4, 64),
    }),
  });
}

/**
 * Attention of T new queries a sequence, whose keys and values the cache has already: each sees the keys of its slot up to its own
 * position. [R T, 3 C] -> [R T, C]. T is 1 while decoding, and more where a piece of a prompt follows others.
 */
export function attentionCached(qkv: Tensor, cache: Tensor, places: CachePlaces, heads: number): Tensor {
  const { all, count, length, C, D, tokens } = formOf("attentionCached", qkv, cache, places, heads);
  return tensor({
    name: "attentionCached",
    shape: [all, C],
    inputs: [qkv, places.slots, places.positions, cache],
    reference: (qkv, slots, positions, cache) => {
      const y = new Float64Array(all * C);
      for (let row = 0; row < all; row++) {
        const r = Math.floor(row / tokens);
        if (slots[r]! >= count) continue;
        const seen = Math.min(positions[r]! + (row % tokens) + 1, length);
        for (let h = 0; h < heads; h++) {
          const at = (t: number, c: number) => cache[(slots[r]! * length + t) * 2 * C + c]!;
          const scores = Array.from({ length: seen }, (_, t) => {
            let score = 0;
            for (let c = h * D; c < (h + 1) * D; c++) score += qkv[row * 3 * C + c]! * at(t, c);
            return score / Math.sqrt(D);
          });
          const largest = Math.max(...scores);
          const weights = scores.map((s) => Math.exp(s - largest));
          const total = weights.reduce((a, b) => a + b, 0);
          weights.forEach((weight, t) => {
            for (let c = h * D; c < (h + 1) * D; c++) y[row * C + c]! += (weight / total) * at(t, C + c);
          });
        }
      }
      return y;
    },
    dispatch: ({ software, workgroupBytes }) => ({
      kernel: {
        name: "attention-decode",
        source,
        entry: "forward",
        constants: { LANES: software ? 8 : workgroupBytes >= 32768 && D <= 64 ? 64 : 32 },
        specialize: { HEAD: `${D / 4}u` },
      },
      params: { rows: all, tokens, heads, slots: count, length, scale: 1 / Math.sqrt(D) },
      workgroups: [heads, all, 1],
    }),
  });
}
