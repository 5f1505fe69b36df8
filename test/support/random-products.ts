/** Matrix products of random shapes and forms, against float64: of every device that it is given. */
import { Program } from "../../src/autograd/program";
import type { Device } from "../../src/device/device";
import { widened, widenedFromF16 } from "../../src/model/half";
import { unpack } from "../../src/model/quantised";
import { matmul } from "../../src/ops";
import { type DType, isQuantised } from "../../src/tensor/stored";
import { input, type Tensor } from "../../src/tensor/tensor";
import { stored } from "./oracle";

/** The largest error of `count` products, each relative to the sum of the magnitudes of what it adds up; and where it was. */
export function worstOf(devices: readonly Device[], { count, seed }: { count: number; seed: number }) {
  const random = generator(seed);
  let worst = { error: 0, shape: "" };
  for (let i = 0; i < count; i++) {
    const shape = randomShape(random);
    for (const on of devices) {
      const error = errorOf(on, shape, random);
      if (!(error <= worst.error)) worst = { error, shape: `${JSON.stringify(shape)} on ${on.info.driver}` };
    }
  }
  return worst;
}

interface Shape {
  readonly rows: number;
  readonly columns: number;
  readonly inner: number;
  readonly transposeA: boolean;
  readonly transposeB: boolean;
  readonly bias: boolean;
  readonly dtype: DType;
}

function randomShape(random: () => number): Shape {
  const below = (most: number) => 1 + Math.floor(most * random());
  // Mostly small, with every remainder of a tile; now and then beyond the blocks of the inner dimension, of rows and of columns.
  const [rows, columns, inner] = [40, 70, 60].map((most) => (random() < 0.08 ? below(900) : below(most))) as [
    number,
    number,
    number,
  ];
  const dtype = (["f32", "f32", "f32", "bf16", "f16", "nf4", "int8", "int4"] as const)[Math.floor(8 * random())]!;
  const quantised = isQuantised(dtype);
  return {
    rows: random() < 0.3 ? below(8) : rows,
    columns,
    inner,
    transposeA: random() < 0.5,
    transposeB: quantised || random() < 0.5,
    bias: random() < 0.5,
    dtype,
  };
}

function errorOf(on: Device, { rows, columns, inner, dtype, ...form }: Shape, random: () => number): number {
  const { transposeA, transposeB } = form;
  const a = input("a", transposeA ? [inner, rows] : [rows, inner]);
  const b = input("b", transposeB ? [columns, inner] : [inner, columns], dtype);
  const bias = input("bias", [columns]);
  const values = (size: number) => Float64Array.from({ length: size }, () => Math.fround(2 * random() - 1));
  const [left, added] = [values(rows * inner), values(columns)];
  const packed = stored(values(inner * columns), b);
  const right = held(packed, b);
  const y = matmul(a, b, { transposeA, transposeB, ...(form.bias && { bias }) });
  using program = new Program(on, [y]);
  program.feed(a, Float32Array.from(left));
  program.feed(b, packed);
  if (form.bias) program.feed(bias, Float32Array.from(added));
  program.run();
  const got = program.read(y);
  let worst = 0;
  for (let i = 0; i < rows; i++) {
    for (let j = 0; j < columns; j++) {
      let sum = form.bias ? added[j]! : 0;
      let size = Math.abs(sum);
      for (let k = 0; k < inner; k++) {
        const term =
          left[transposeA ? k * rows + i : i * inner + k]! * right[transposeB ? j * inner + k : k * columns + j]!;
        sum += term;
        size += Math.abs(term);
      }
      const error = Math.abs(got[i * columns + j]! - sum) / (size || 1);
      if (!(error <= worst)) worst = error;
    }
  }
  return worst;
}

/** The numbers that words of a tensor's type stand for. */
function held(words: ReturnType<typeof stored>, { dtype, shape }: Tensor): Float32Array {
  if (dtype === "bf16") return widened(words as Uint16Array);
  if (dtype === "f16") return widenedFromF16(words as Uint16Array);
  return isQuantised(dtype) ? unpack(words as Uint32Array, shape, dtype) : (words as Float32Array);
}

/** Numbers in [0, 1): https://doi.org/10.18637/jss.v008.i14 (xorshift). */
function generator(seed: number): () => number {
  let state = (seed * 2654435761) >>> 0 || 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state = (state ^ (state << 5)) >>> 0;
    return state / 2 ** 32;
  };
}
