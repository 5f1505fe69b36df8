/** Matrix products on GPUs: which tile a shape is computed by, and into how many slices its inner dimension is cut. */
import sumSource from "../../kernels/matmul-sum.wgsl" with { type: "text" };
import source from "../../kernels/matmul-tile.wgsl" with { type: "text" };
import { linear } from "../device/device";
import type { Launch } from "../tensor/tensor";

export interface TileForm {
  readonly rows: number;
  readonly columns: number;
  readonly inner: number;
  readonly transposeA: boolean;
  readonly transposeB: boolean;
  /** How B is stored: 0 in float32, 1 in bfloat16, 2 in float16. */
  readonly stored: number;
  readonly a: { readonly first: number; readonly stride: number };
  readonly result: { readonly first: number; readonly stride: number };
}

export interface Epilogue {
  readonly bias: boolean;
  readonly gelu: boolean;
  readonly accumulate: boolean;
  /** With input 3, of the result's shape: it is added, or GELU's derivative at it is multiplied by. */
  readonly other?: "plus" | "timesGelu" | undefined;
}

/** Rows and columns of a workgroup's tile, and slices of the inner dimension. */
export interface Tiling {
  readonly rows: number;
  readonly columns: number;
  readonly slices: number;
}

/** The inner dimension of a tile. */
const DEPTH = 8;

/**
 * By shape alone, so that a run's sums are the same on every GPU: WebGPU does not say how many workgroups one runs at a time. Measured on an
 * H200, of 132 multiprocessors, which hold 264 tiles of 128 x 128 or 528 of half the size: docs/log.md, 2026-11-27.
 */
export function tilingOf(rows: number, columns: number, inner: number): Tiling {
  const count = (tileRows: number, tileColumns: number) =>
    Math.ceil(rows / tileRows) * Math.ceil(columns / tileColumns);
  if (count(128, 128) >= 700) return { rows: 128, columns: 128, slices: 1 };
  const halves = count(128, 64);
  if (halves >= 1000) return { rows: 64, columns: 64, slices: 1 };
  const slices = halves >= 350 ? 1 : Math.max(1, Math.min(Math.round(900 / halves), Math.floor(inner / 192)));
  return { rows: rows <= 64 ? 64 : 128, columns: 64, slices };
}

/** How a kernel reads four neighbours of B, by how that is stored. */
export const storedQuads = [
  "return b[i / 4u];",
  "let w = vec2(b[i / 2u], b[i / 2u + 1u]); return bitcast<vec4<f32>>(vec4(w.x << 16u, w.x & 0xffff0000u, w.y << 16u, w.y & 0xffff0000u));",
  "return vec4(unpack2x16float(b[i / 2u]), unpack2x16float(b[i / 2u + 1u]));",
];

/** Four neighbours of an operand whose rows begin anywhere. */
const scalars = (name: string) =>
  `let last = arrayLength(&${name}) - 1u; return vec4(${["i", "min(i + 1u, last)", "min(i + 2u, last)", "min(i + 3u, last)"].map((i) => `${name}[${i}]`).join(", ")});`;
const scalarStore = `output[i] = value.x; ${["y", "z", "w"].map((c, j) => `if (count > ${j + 1}u) { output[i + ${j + 1}u] = value.${c}; }`).join(" ")}`;

/** Null where the kernel has no form for it: B in 16 bits, with rows that do not begin at multiples of four. */
export function tiledLaunches(form: TileForm, epilogue: Epilogue, tiling?: Tiling): readonly Launch[] | null {
  const { rows, columns, inner, transposeA, transposeB, stored, a, result } = form;
  const whole = (...sizes: number[]) => sizes.every((size) => size % 4 === 0);
  const quads = { a: whole(a.first, a.stride), b: whole(transposeB ? inner : columns) };
  if (stored > 2 || (stored > 0 && !quads.b)) return null;
  const tile = tiling ?? tilingOf(rows, columns, inner);
  const depth = tile.slices === 1 ? inner : Math.ceil(inner / tile.slices / DEPTH) * DEPTH;
  const slices = Math.ceil(inner / depth);
  const window = slices > 1 ? { first: 0, stride: columns } : result;
  const c = whole(window.first, window.stride, columns);
  const { bias, gelu, accumulate, other } = epilogue;
  const ends = {
    BIAS: bias,
    GELU: gelu,
    ACCUMULATE: accumulate,
    PLUS: other === "plus",
    TIMES_GELU: other === "timesGelu",
  };
  const product: Launch = {
    kernel: {
      name: "matmul-tile",
      source,
      entry: "forward",
      constants: {
        TRANSPOSE_A: transposeA,
        TRANSPOSE_B: transposeB,
        ...(slices === 1 && ends),
      },
      specialize: {
        ROWS: `${tile.rows}u`,
        COLUMNS: `${tile.columns}u`,
        ...(!quads.a && { A: "f32", a_quad: scalars("a") }),
        ...(stored > 0 && { B: "u32", b_quad: storedQuads[stored]! }),
        ...(!quads.b && { B: "f32", b_quad: scalars("b") }),
        ...(!(other && slices === 1) && { other_quad: "return vec4(0.0);" }),
        ...(!c && {
          C: "f32",
          c_quad: scalars("output"),
          ...(other && slices === 1 && { other_quad: scalars("other") }),
          store_quad: scalarStore,
        }),
      },
    },
    params: { rows, columns, inner, a_first: a.first, a_stride: a.stride, ...window, depth },
    workgroups: [Math.ceil(columns / tile.columns), Math.ceil(rows / tile.rows), slices],
    readsStored: stored > 0,
  };
  if (slices === 1) return [{ ...product, reads: other ? [0, 1, 2, 3] : [0, 1, 2] }];
  return [
    { ...product, reads: [0, 1, 2], writesWork: slices * rows * columns },
    {
      kernel: {
        name: "matmul-sum",
        source: sumSource,
        entry: "forward",
        constants: ends,
      },
      params: { rows, columns, parts: slices, ...result },
      workgroups: linear(rows * columns, 256),
      reads: ["work", 2, other ? 3 : 2],
      readsStored: stored > 0,
    },
  ];
}
