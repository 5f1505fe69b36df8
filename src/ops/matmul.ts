/** Matrix products in every transpose form, with bias, GELU and accumulation in the same kernel. */
import source from "../../kernels/matmul.wgsl" with { type: "text" };
import subgroupSource from "../../kernels/matmul-subgroup.wgsl" with { type: "text" };
import type { Traits } from "../device/device";
import { expectShape, matrixOf, ShapeError } from "../tensor/shape";
import { storedConstant } from "../tensor/stored";
import { type Launch, type Tensor, tensor, type Values } from "../tensor/tensor";
import { addLaunch } from "./add";
import { geluBackward, geluDerivative, geluLaunch, geluValue } from "./gelu";
import { type Epilogue, tiledLaunches } from "./matmul-tile";
import { fewRowsLaunch } from "./matvec";
import { columnSum } from "./reduce";
import { type Keep, keepWhole } from "./store";

export interface MatmulOptions {
  /** A is stored [K, M]. */
  readonly transposeA?: boolean;
  /** B is stored [N, K]. */
  readonly transposeB?: boolean;
  /** [N], added to every row. */
  readonly bias?: Tensor;
  /** GELU of the result, for inference: its gradient computes the product again. */
  readonly gelu?: boolean;
  /** How A is kept for the gradient of B. */
  readonly keep?: Keep;
}

interface Form {
  readonly rows: number;
  readonly columns: number;
  readonly inner: number;
  readonly transposeA: boolean;
  readonly transposeB: boolean;
  /** How B is stored: the constant STORED; float32 if absent. */
  readonly stored?: number;
  /** A is columns of a wider matrix: where they begin in its first row, and how far its rows are apart. */
  readonly a?: Window;
  /** So is the result. */
  readonly result?: Window;
}

interface Window {
  readonly first: number;
  readonly stride: number;
}

/**
 * op(A) op(B) + bias: [M, K] x [K, N] -> [M, N]. Leading dimensions of A count as rows where A is not transposed. B may be stored in 16
 * bits or quantised.
 */
export function matmul(
  a: Tensor,
  b: Tensor,
  { transposeA = false, transposeB = false, bias, gelu = false, keep = keepWhole }: MatmulOptions = {},
): Tensor {
  const left = matrixOf("matmul", "a", a.shape);
  const right = matrixOf("matmul", "b", b.shape);
  const [rows, inner] = transposeA ? [left.columns, left.rows] : [left.rows, left.columns];
  const [innerB, columns] = transposeB ? [right.columns, right.rows] : [right.rows, right.columns];
  if (inner !== innerB) {
    const form = `${transposeA ? "aT" : "a"} x ${transposeB ? "bT" : "b"}`;
    throw new ShapeError(`matmul ${form}: [${a.shape}] x [${b.shape}], inner sizes ${inner} and ${innerB} differ`);
  }
  if (bias) expectShape("matmul", "bias", bias.shape, [columns]);
  const form = { rows, columns, inner, transposeA, transposeB, stored: storedConstant(b.dtype) };
  const kept = keep(a);
  const vjp = (grad: Tensor) => {
    const a = kept();
    const through = gelu ? geluBackward(matmul(a, b, { transposeA, transposeB, ...(bias && { bias }) }), grad) : grad;
    const da = transposeA
      ? matmul(b, through, { transposeA: transposeB, transposeB: true })
      : matmul(through, b, { transposeB: !transposeB });
    const db = transposeB
      ? matmul(through, a, { transposeA: true, transposeB: transposeA })
      : matmul(a, through, { transposeA: !transposeA });
    return [da, db, bias ? columnSum(through) : null];
  };
  /** With a target it is added onto that; with another tensor it becomes what Other says. */
  const product = (target?: Tensor, other?: Other): Tensor =>
    tensor({
      name: `matmul${transposeA ? " aT" : ""}${transposeB ? " bT" : ""}`,
      shape: [rows, columns],
      inputs: [...(target ? [target] : []), a, b, bias ?? b, ...(other ? [other.x] : [])],
      inPlace: target !== undefined,
      reference: (...values) => {
        const [a, b, c, x] = target ? values.slice(1) : values;
        const y = productOf(a!, b!, form);
        if (bias) for (let i = 0; i < y.length; i++) y[i] = y[i]! + c![i % columns]!;
        if (gelu) for (let i = 0; i < y.length; i++) y[i] = geluValue(y[i]!);
        if (other?.kind === "plus") return y.map((v, i) => v + x![i]!);
        if (other) return y.map((v, i) => v * geluDerivative(x![i]!));
        return target ? y.map((v, i) => v + values[0]![i]!) : y;
      },
      dispatch: (traits) =>
        launches(
          form,
          { bias: bias !== undefined, gelu, accumulate: target !== undefined, other: other?.kind },
          traits,
        ),
      ...(!target && !other && { into: (target) => product(target), vjp, plus, timesGelu }),
      ...(other?.kind === "plus" && { vjp: (grad) => [...vjp(grad), grad] }),
    });
  const plus = (x: Tensor) => product(undefined, { kind: "plus", x });
  const timesGelu = (x: Tensor) => product(undefined, { kind: "timesGelu", x });
  return product();
}

/** What is done to a product with another tensor, [M, N]: it is added, or GELU's derivative at it is multiplied by. */
interface Other {
  readonly kind: "plus" | "timesGelu";
  readonly x: Tensor;
}

/** Where the kernel does not know the other tensor, input 3, another launch does that. */
function launches(form: Form, { other, ...epilogue }: Epilogue, traits: Traits): readonly Launch[] {
  const count = form.rows * form.columns;
  const whole = traits.software ? null : gpuLaunches(form, { ...epilogue, other });
  if (whole) return whole;
  const plain = { ...launch(form, epilogue, traits), reads: [0, 1, 2] };
  if (other === "plus") return [plain, addLaunch(count, 3)];
  return other ? [{ ...plain, writesWork: count }, geluLaunch(count, 3)] : [plain];
}

function gpuLaunches(form: Form, epilogue: Epilogue): readonly Launch[] | null {
  const full = { ...form, stored: form.stored ?? 0, ...windowsOf(form) };
  const few = fewRowsLaunch(full, epilogue);
  return few ? [few] : tiledLaunches(full, epilogue);
}

function windowsOf({ rows, columns, inner, transposeA, a, result }: Form): {
  readonly a: Window;
  readonly result: Window;
} {
  return {
    a: a ?? { first: 0, stride: transposeA ? rows : inner },
    result: result ?? { first: 0, stride: columns },
  };
}

function launch(form: Form, { bias, gelu, accumulate }: Omit<Epilogue, "other">, traits: Traits): Launch {
  const { rows, columns, inner, transposeA, transposeB, stored = 0 } = form;
  const constants = {
    TRANSPOSE_A: transposeA,
    TRANSPOSE_B: transposeB,
    BIAS: bias,
    GELU: gelu,
    ACCUMULATE: accumulate,
    STORED: stored,
  };
  const { a, result } = windowsOf(form);
  const params = {
    rows,
    columns,
    inner,
    a_first: a.first,
    a_stride: a.stride,
    first: result.first,
    stride: result.stride,
  };
  if (traits.software && traits.subgroupSize === 8) {
    const tile = rows <= 4 ? 4 : rows <= 16 ? 16 : 32;
    return {
      kernel: {
        name: "matmul-subgroup",
        source: subgroupSource,
        entry: "forward",
        constants,
        specialize: { ROWS: `${tile}u` },
      },
      params,
      readsStored: stored > 0,
      workgroups: [Math.ceil(columns / 32), Math.ceil(rows / tile), 1],
    };
  }
  return {
    kernel: { name: "matmul", source, entry: "forward", constants },
    params,
    readsStored: stored > 0,
    workgroups: [Math.ceil(columns / 64), Math.ceil(rows / 64), 1],
  };
}

/**
 * `target` [M, W] with A B^T added onto its columns from `first` on, in place: A is [M, K], B [N, K]. For a B that is a part of a table: its
 * columns of the logits.
 */
export function addColumns(target: Tensor, first: number, a: Tensor, b: Tensor): Tensor {
  const { rows, columns: inner } = matrixOf("addColumns", "a", a.shape);
  const { rows: columns, columns: innerB } = matrixOf("addColumns", "b", b.shape);
  const { rows: targetRows, columns: stride } = matrixOf("addColumns", "target", target.shape);
  if (inner !== innerB || rows !== targetRows || first + columns > stride) {
    throw new ShapeError(
      `addColumns: [${a.shape}] x [${b.shape}] transposed does not fit [${target.shape}] at ${first}`,
    );
  }
  const form = {
    rows,
    columns,
    inner,
    transposeA: false,
    transposeB: true,
    stored: storedConstant(b.dtype),
    result: { first, stride },
  };
  return tensor({
    name: "addColumns",
    shape: target.shape,
    inputs: [target, a, b, b],
    inPlace: true,
    reference: (target, a, b) => {
      const y = target.slice();
      productOf(a, b, form).forEach((v, i) => {
        y[Math.floor(i / columns) * stride + first + (i % columns)]! += v;
      });
      return y;
    },
    dispatch: (traits) => launches(form, { bias: false, gelu: false, accumulate: true }, traits),
    vjp: (grad) => [
      grad,
      fromColumns(grad, first, b),
      fromColumns(grad, first, a, { transposeA: true, width: columns }),
      null,
    ],
  });
}

/**
 * The product of columns of A [M, W], from `first` on, with B: A B for B [width, N], or with transposeA their transpose times
 * B [M, N] -> [width, N].
 */
export function fromColumns(
  a: Tensor,
  first: number,
  b: Tensor,
  { transposeA = false, width }: { transposeA?: boolean; width?: number } = {},
): Tensor {
  const { rows: M, columns: stride } = matrixOf("fromColumns", "a", a.shape);
  const { rows: rowsB, columns } = matrixOf("fromColumns", "b", b.shape);
  const count = width ?? rowsB;
  if (first + count > stride || rowsB !== (transposeA ? M : count)) {
    throw new ShapeError(`fromColumns: columns ${first} to ${first + count} of [${a.shape}] do not fit [${b.shape}]`);
  }
  const [rows, inner] = transposeA ? [count, M] : [M, count];
  const form = { rows, columns, inner, transposeA, transposeB: false, a: { first, stride } };
  const make = (target?: Tensor): Tensor =>
    tensor({
      name: `fromColumns${transposeA ? " aT" : ""}`,
      shape: [rows, columns],
      inputs: [...(target ? [target] : []), a, b, b],
      inPlace: target !== undefined,
      reference: (...values) => {
        const [a, b] = target ? values.slice(1) : values;
        const y = productOf(a!, b!, form);
        return target ? y.map((v, i) => v + values[0]![i]!) : y;
      },
      dispatch: (traits) => launches(form, { bias: false, gelu: false, accumulate: target !== undefined }, traits),
      ...(!target && { into: make }),
    });
  return make();
}

function productOf(a: Values, b: Values, form: Form): Values {
  const { rows, columns, inner, transposeA, transposeB } = form;
  const { first, stride } = form.a ?? { first: 0, stride: transposeA ? rows : inner };
  const y = new Float64Array(rows * columns);
  for (let i = 0; i < rows; i++) {
    for (let k = 0; k < inner; k++) {
      const v = a[first + (transposeA ? k * stride + i : i * stride + k)]!;
      for (let j = 0; j < columns; j++) {
        y[i * columns + j]! += v * b[transposeB ? j * inner + k : k * columns + j]!;
      }
    }
  }
  return y;
}
