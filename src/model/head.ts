/**
 * The output head and its loss, by chunks of rows, so that the logits of a whole batch are never stored. Training needs the
 * gradient of every chunk anyway and it is linear in the gradient of the loss: so each chunk's gradient is built right
 * behind its logits, and nothing is computed twice. Liger and cut-cross-entropy do likewise: https://arxiv.org/abs/2411.09009.
 */
import { accumulate, add } from "../ops/add";
import { crossEntropyBackward, tokenStatistics } from "../ops/cross-entropy";
import { scale } from "../ops/elementwise";
import { zeros } from "../ops/fill";
import { fromColumns, matmul } from "../ops/matmul";
import { rowSum } from "../ops/reduce";
import { expectShape, matrixOf, sizeOf } from "../tensor/shape";
import { type Tensor, tensor, VIEW_ALIGNMENT, view } from "../tensor/tensor";
import { addProduct, project, type TablePart } from "./table";

/** Bytes of logits that may live at a time: within every device's binding limit (128 MiB), with their gradient beside them. */
const CHUNK_BYTES = 64 << 20;

/** Rows of a chunk for this vocabulary. */
export function chunkRows(vocabulary: number): number {
  return Math.max(VIEW_ALIGNMENT, Math.floor(CHUNK_BYTES / 4 / vocabulary / VIEW_ALIGNMENT) * VIEW_ALIGNMENT);
}

/** What adds to the logits: x table^T. The model's own rows and table, and likewise a low-rank adapter's. */
export interface HeadTerm {
  /** [N, C]. */
  readonly x: Tensor;
  /** The parts of a table [V, C]. */
  readonly parts: readonly TablePart[];
}

export interface HeadLoss {
  /** [1]: weight * the sum of -log softmax(logits)[target] over all rows whose target is not IGNORE. */
  readonly loss: Tensor;
  /** [3], with dft [4]: the same sum, that of the entropies, the number of targets that are the likeliest token, with dft the loss without its weights; each times weight. */
  readonly sums: Tensor;
}

export interface HeadOptions {
  /** [N] (u32). */
  readonly targets: Tensor;
  /** [1]: 1 / number of targets for means. */
  readonly weight: Tensor;
  /** Weights each target's loss by its probability: https://arxiv.org/abs/2508.05629. */
  readonly dft?: boolean | undefined;
  /** A multiple of 64; chosen by the vocabulary if absent. */
  readonly rowsAtOnce?: number;
}

/** The loss of the logits that all terms add up to. */
export function headLoss(
  terms: readonly HeadTerm[],
  { targets, weight, dft = false, rowsAtOnce }: HeadOptions,
): HeadLoss {
  const { rows: N } = matrixOf("headLoss", "x", terms[0]!.x.shape);
  expectShape("headLoss", "targets", targets.shape, [N]);
  const size = rowsAtOnce ?? chunkRows(terms[0]!.parts.reduce((sum, { rows }) => sum + rows, 0));
  const several = N > size;
  const grads = terms.map(({ x, parts }) => ({
    dx: several ? zeros(x.shape) : null,
    dChunks: [] as Tensor[],
    dParts: parts.map((): Tensor | undefined => undefined),
  }));
  let sums: Tensor | null = null;
  for (let first = 0; first < N; first += size) {
    const rows = Math.min(size, N - first);
    const rowsOf = (x: Tensor) =>
      several ? view(x, [rows, ...x.shape.slice(1)], { offset: first * sizeOf(x.shape.slice(1)) }) : x;
    const [own, ...more] = terms.map(({ x, parts }) => ({ x: rowsOf(x), parts }));
    const logits = more.reduce((y, { x, parts }) => addProduct(y, x, parts), project(own!.x, own!.parts));
    const statistics = tokenStatistics(logits, rowsOf(targets), { dft });
    const part = scale(rowSum(statistics), weight);
    sums = sums ? add(sums, part) : part;

    const losses = dft ? statistics : view(statistics, [rows]);
    const dLogits = crossEntropyBackward(logits, rowsOf(targets), losses, weight, { dft });
    for (const [i, { x, parts }] of [own!, ...more].entries()) {
      const backward = partsBackward(dLogits, x, parts);
      const { dx, dChunks, dParts } = grads[i]!;
      const target = dx && rowsOf(dx);
      dChunks.push(backward.dx.reduce((sum: Tensor | null, part) => (sum ? accumulate(sum, part) : part), target)!);
      backward.dParts.forEach((part, j) => {
        dParts[j] = dParts[j] ? accumulate(dParts[j], part) : part;
      });
    }
  }
  const dAll = grads.map(({ dx, dChunks }) => (dx ? joined(dx, dChunks) : dChunks[0]!));
  const loss = tensor({
    name: "headLoss",
    shape: [1],
    inputs: [sums!, ...terms.flatMap(({ x, parts }) => [x, ...parts.map(({ tensor }) => tensor)])],
    reference: (sums) => sums.subarray(0, 1),
    vjp: (grad) => [
      null,
      ...grads.flatMap(({ dParts }, i) => [scale(dAll[i]!, grad), ...dParts.map((dPart) => scale(dPart!, grad))]),
    ],
  });
  return { loss, sums: sums! };
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

/** The whole of a tensor whose parts were written in place. */
function joined(whole: Tensor, parts: readonly Tensor[]): Tensor {
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
