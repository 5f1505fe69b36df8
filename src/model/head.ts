/**
 * The output head and its loss, by chunks of rows, so that the logits of a whole batch are never stored. Training needs the
 * gradient of every chunk anyway and it is linear in the gradient of the loss: so each chunk's gradient is built right
 * behind its logits, and nothing is computed twice. Liger and cut-cross-entropy do likewise: https://arxiv.org/abs/2411.09009.
 */
import { accumulate, add, scale } from "../ops/add";
import { crossEntropy, crossEntropyBackward } from "../ops/cross-entropy";
import { zeros } from "../ops/fill";
import { fromColumns, matmul } from "../ops/matmul";
import { sum } from "../ops/reduce";
import { expectShape, matrixOf } from "../tensor/shape";
import { type Tensor, tensor, VIEW_ALIGNMENT, view } from "../tensor/tensor";
import { project, type TablePart } from "./table";

/** Bytes of logits that may live at a time: within every device's binding limit (128 MiB), with their gradient beside them. */
const CHUNK_BYTES = 64 << 20;

/** Rows of a chunk for this vocabulary. */
export function chunkRows(vocabulary: number): number {
  return Math.max(VIEW_ALIGNMENT, Math.floor(CHUNK_BYTES / 4 / vocabulary / VIEW_ALIGNMENT) * VIEW_ALIGNMENT);
}

/**
 * weight * sum of -log softmax(x table^T)[target] over all rows whose target is not IGNORE.
 * x: [N, C], the parts of a table [V, C], targets: [N] (u32), weight: [1] (1 / number of targets for a mean) -> [1].
 */
export function headLoss(x: Tensor, parts: readonly TablePart[], { targets, weight, rowsAtOnce }: HeadLoss): Tensor {
  const { rows: N, columns: C } = matrixOf("headLoss", "x", x.shape);
  const V = parts.reduce((sum, { rows }) => sum + rows, 0);
  expectShape("headLoss", "targets", targets.shape, [N]);
  const size = rowsAtOnce ?? chunkRows(V);
  const chunks = Array.from({ length: Math.ceil(N / size) }, (_, i) => ({
    first: i * size,
    rows: Math.min(size, N - i * size),
  }));

  let loss: Tensor | null = null;
  const dParts: (Tensor | undefined)[] = parts.map(() => undefined);
  const dx = chunks.length > 1 ? zeros([N, C]) : null;
  const dChunks: Tensor[] = [];
  for (const { first, rows } of chunks) {
    const xChunk = dx ? view(x, [rows, C], { offset: first * C }) : x;
    const targetChunk = dx ? view(targets, [rows], { offset: first }) : targets;
    const logits = project(xChunk, parts);
    const losses = crossEntropy(logits, targetChunk);
    const part = scale(sum(losses), weight);
    loss = loss ? add(loss, part) : part;

    const dLogits = crossEntropyBackward(logits, targetChunk, losses, weight);
    const backward = partsBackward(dLogits, xChunk, parts);
    const target = dx && view(dx, [rows, C], { offset: first * C });
    dChunks.push(backward.dx.reduce((sum: Tensor | null, part) => (sum ? accumulate(sum, part) : part), target)!);
    backward.dParts.forEach((part, i) => {
      dParts[i] = dParts[i] ? accumulate(dParts[i], part) : part;
    });
  }
  const dAll = dx ? joined(dx, dChunks) : dChunks[0]!;
  return tensor({
    name: "headLoss",
    shape: [1],
    inputs: [loss!, x, ...parts.map(({ tensor }) => tensor)],
    reference: (loss) => loss,
    vjp: (grad) => [null, scale(dAll, grad), ...dParts.map((dPart) => scale(dPart!, grad))],
  });
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

export interface HeadLoss {
  readonly targets: Tensor;
  readonly weight: Tensor;
  /** A multiple of 64; chosen by the vocabulary if absent. */
  readonly rowsAtOnce?: number;
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
