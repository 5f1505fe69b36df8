/**
 * The output head by chunks of rows, so that the logits of a whole batch are never stored. A loss that is a sum over rows, each of
 * whose gradients needs that row alone, has its gradient built right behind each chunk's logits, and nothing is computed twice: it
 * is linear in the gradient of the loss. Liger and cut-cross-entropy do likewise: https://arxiv.org/abs/2411.09009. Log-probabilities
 * for any other loss are in log-probs.ts.
 */
import { accumulate, add } from "../ops/add";
import { scale } from "../ops/elementwise";
import { zeros } from "../ops/fill";
import { fromColumns, matmul } from "../ops/matmul";
import { concat } from "../ops/parts";
import { columnSum } from "../ops/reduce";
import { expectShape, matrixOf, sizeOf } from "../tensor/shape";
import { type Tensor, tensor, VIEW_ALIGNMENT, view } from "../tensor/tensor";
import { anyRoom, type Room } from "./room";
import { addProduct, project, type TablePart } from "./table";

/** Rows of a chunk of logits of so many: as many as `room` holds, in chunks of about one size. */
function chunkRows(rows: number, vocabulary: number, { logitsBytes }: Room): number {
  const aligned = (count: number) => Math.max(1, count) * VIEW_ALIGNMENT;
  const most = aligned(Math.floor(logitsBytes / 4 / vocabulary / VIEW_ALIGNMENT));
  return aligned(Math.ceil(rows / Math.ceil(rows / most) / VIEW_ALIGNMENT));
}

/** What adds to the logits: x table^T. The model's own rows and table, and likewise a low-rank adapter's. */
export interface HeadTerm {
  /** [N, C]. */
  readonly x: Tensor;
  /** The parts of a table [V, C]. */
  readonly parts: readonly TablePart[];
}

/** A loss that is a weighted sum over rows, and whose gradient at a row needs that row alone. */
export interface RowLoss {
  /** What is told, the loss first: a name for each column of `values`. */
  readonly metrics: readonly string[];
  /**
   * Of n rows of logits [n, V], the rows' values, each [n, k], the first column of the first the loss; and the gradient of the logits,
   * [n, V], of the sum of weight times loss. `rows` gives the chunk's part of a tensor [N] or [N, k]; `weights` is [n], or [1] for all.
   */
  chunk(
    logits: Tensor,
    rows: (x: Tensor) => Tensor,
    weights: Tensor,
  ): { readonly values: readonly Tensor[]; readonly dLogits: Tensor };
}

export interface HeadLoss {
  /** [1]: the sum over all rows of weight times loss. */
  readonly loss: Tensor;
  /** [k]: for each of `metrics` the sum over all rows of weight times value. */
  readonly sums: Tensor;
  readonly metrics: readonly string[];
}

export interface ChunkOptions {
  /** A multiple of 64; chosen by the vocabulary and the room if absent. */
  readonly rowsAtOnce?: number | undefined;
  readonly room?: Room | undefined;
}

/** The loss of the logits that all terms add up to. `weights`: [N], or [1] for all rows; 1 / their number for a mean. */
export function rowLoss(
  terms: readonly HeadTerm[],
  { metrics, chunk }: RowLoss,
  weights: Tensor,
  options: ChunkOptions = {},
): HeadLoss {
  const chunks = chunksOf(terms, options);
  const { rows: N } = matrixOf("rowLoss", "x", terms[0]!.x.shape);
  const each = sizeOf(weights.shape) > 1;
  if (each) expectShape("rowLoss", "weights", weights.shape, [N]);
  const gradient = headGradient(terms, chunks);
  let totals: Tensor[] | null = null;
  for (const part of chunks) {
    const rowWeights = each ? part.rows(weights) : weights;
    const { values, dLogits } = chunk(part.logits(), part.rows, rowWeights);
    const sums = values.map((value) => weightedSum(value, rowWeights));
    totals = totals ? totals.map((total, i) => add(total, sums[i]!)) : sums;
    gradient.add(part, dLogits);
  }
  const sums = totals!.length === 1 ? totals![0]! : concat(totals!);
  expectShape("rowLoss", "the values of a row", sums.shape, [metrics.length]);
  const { dx, dParts } = gradient.whole();
  const loss = tensor({
    name: "rowLoss",
    shape: [1],
    inputs: [sums, ...inputsOf(terms)],
    reference: (sums) => sums.subarray(0, 1),
    vjp: (grad) => [
      null,
      ...terms.flatMap((_, i) => [scale(dx[i]!, grad), ...dParts[i]!.map((dPart) => scale(dPart, grad))]),
    ],
  });
  return { loss, sums, metrics };
}

/** [n, k] -> [k]. */
function weightedSum(values: Tensor, weights: Tensor): Tensor {
  const { rows, columns } = matrixOf("rowLoss", "values", values.shape);
  if (sizeOf(weights.shape) === 1 && rows > 1) return scale(columnSum(values), weights);
  return view(matmul(view(weights, [1, rows]), values), [columns]);
}

/** Some rows of the batch. */
export interface Chunk {
  readonly first: number;
  readonly count: number;
  /** The chunk's part of a tensor of one row or number for each row of the batch. */
  rows(x: Tensor): Tensor;
  /** What all terms add up to: [count, V]. Computed anew at each call. */
  logits(): Tensor;
}

export function chunksOf(terms: readonly HeadTerm[], { rowsAtOnce, room = anyRoom }: ChunkOptions = {}): Chunk[] {
  const { rows: N } = matrixOf("the head", "x", terms[0]!.x.shape);
  const vocabulary = terms[0]!.parts.reduce((sum, { rows }) => sum + rows, 0);
  const size = rowsAtOnce ?? chunkRows(N, vocabulary, room);
  return Array.from({ length: Math.ceil(N / size) }, (_, i) => {
    const first = i * size;
    const count = Math.min(size, N - first);
    const rows = (x: Tensor) =>
      count === N ? x : view(x, [count, ...x.shape.slice(1)], { offset: first * sizeOf(x.shape.slice(1)) });
    const logits = () => {
      const [own, ...more] = terms.map(({ x, parts }) => ({ x: rows(x), parts }));
      return more.reduce((y, { x, parts }) => addProduct(y, x, parts), project(own!.x, own!.parts));
    };
    return { first, count, rows, logits };
  });
}

/** What a node whose gradient is `headGradient`'s lists as inputs, in its order. */
export function inputsOf(terms: readonly HeadTerm[]): Tensor[] {
  return terms.flatMap(({ x, parts }) => [x, ...parts.map(({ tensor }) => tensor)]);
}

/** The gradients of every term's rows and table, added up chunk by chunk. */
export function headGradient(terms: readonly HeadTerm[], chunks: readonly Chunk[]) {
  const several = chunks.length > 1;
  const grads = terms.map(({ x, parts }) => ({
    dx: several ? zeros(x.shape) : null,
    dChunks: [] as Tensor[],
    dParts: parts.map((): Tensor | undefined => undefined),
  }));
  return {
    add({ rows }: Chunk, dLogits: Tensor): void {
      for (const [i, { x, parts }] of terms.entries()) {
        const backward = partsBackward(dLogits, rows(x), parts);
        const { dx, dChunks, dParts } = grads[i]!;
        const target = dx && rows(dx);
        dChunks.push(backward.dx.reduce((sum: Tensor | null, part) => (sum ? accumulate(sum, part) : part), target)!);
        backward.dParts.forEach((part, j) => {
          dParts[j] = dParts[j] ? accumulate(dParts[j], part) : part;
        });
      }
    },
    whole: () => ({
      dx: grads.map(({ dx, dChunks }) => (dx ? joined(dx, dChunks) : dChunks[0]!)),
      dParts: grads.map(({ dParts }) => dParts.map((part) => part!)),
    }),
  };
}

/** The gradients of x, to be added up, and of each part of the table. */
function partsBackward(dLogits: Tensor, x: Tensor, parts: readonly TablePart[]): { dx: Tensor[]; dParts: Tensor[] } {
  if (parts.length === 1) {
    return { dx: [matmul(dLogits, parts[0]!.tensor)], dParts: [matmul(dLogits, x, { transposeA: true })] };
  }
  return {
    dx: parts.map(({ tensor, first }) => fromColumns(dLogits, first, tensor)),
    dParts: parts.map(({ first, rows }) => fromColumns(dLogits, first, x, { transposeA: true, width: rows })),
  };
}

/** The whole of a tensor whose parts, one behind the other, were written in place. */
export function joined(whole: Tensor, parts: readonly Tensor[]): Tensor {
  return tensor({
    name: "joined",
    shape: whole.shape,
    inputs: [whole, ...parts],
    reference: (whole, ...parts) => {
      const y = whole.slice();
      let at = 0;
      for (const part of parts) {
        y.set(part, at);
        at += part.length;
      }
      return y;
    },
  });
}
