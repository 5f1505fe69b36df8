/** Cross-entropy of logits with target ids, fused: no probabilities are stored. */
import source from "../../kernels/cross-entropy.wgsl" with { type: "text" };
import { expectShape, matrixOf, sizeOf } from "../tensor/shape";
import { type Tensor, tensor } from "../tensor/tensor";
import { rowGroups, rowLanes } from "./reduce";

/** The target that counts for nothing: its loss and its gradient are zero. */
export const IGNORE = 0xffff_ffff;

/** -log softmax(logits)[target] of each row: [R, V], [R] (u32) -> [R]. Zero where the target is IGNORE. */
export function crossEntropy(logits: Tensor, targets: Tensor): Tensor {
  const { rows, columns } = matrixOf("crossEntropy", "logits", logits.shape);
  expectShape("crossEntropy", "targets", [sizeOf(targets.shape)], [rows]);
  return tensor({
    name: "crossEntropy",
    shape: [rows],
    inputs: [logits, targets],
    reference: (x, targets) =>
      new Float64Array(rows).map((_, r) => {
        const target = targets[r]!;
        if (target === IGNORE) return 0;
        const row = x.subarray(r * columns, (r + 1) * columns);
        const largest = row.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
        return Math.log(row.reduce((total, v) => total + Math.exp(v - largest), 0)) + largest - row[target]!;
      }),
    dispatch: (traits) => ({
      kernel: { name: "cross-entropy", source, entry: "forward", constants: rowLanes(traits) },
      params: { rows, columns, grad_step: 0, loss_step: 0 },
      workgroups: rowGroups(rows, rowLanes(traits)),
    }),
    vjp: (grad, losses) => [crossEntropyBackward(logits, targets, losses, grad), null],
  });
}

/** What tokenStatistics tells of a row. */
export const STATISTICS = 4;

/**
 * For each row -log softmax(logits)[target], the entropy of the softmax in nats, 1 where the target is the likeliest, else 0, and the
 * mean logit: [R, V], [R] (u32) -> [R, 4]. Zeros where the target is IGNORE. It has no gradient rule: the head has its own.
 */
export function tokenStatistics(logits: Tensor, targets: Tensor): Tensor {
  const { rows, columns } = matrixOf("tokenStatistics", "logits", logits.shape);
  expectShape("tokenStatistics", "targets", [sizeOf(targets.shape)], [rows]);
  return tensor({
    name: "tokenStatistics",
    shape: [rows, STATISTICS],
    inputs: [logits, targets],
    reference: (x, targets) => {
      const y = new Float64Array(STATISTICS * rows);
      targets.forEach((target, r) => {
        if (target === IGNORE) return;
        const row = x.subarray(r * columns, (r + 1) * columns);
        const largest = row.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
        const lse = Math.log(row.reduce((total, v) => total + Math.exp(v - largest), 0)) + largest;
        const entropy = row.reduce((total, v) => total + Math.exp(v - lse) * (lse - v), 0);
        const mean = row.reduce((a, b) => a + b, 0) / columns;
        y.set([lse - row[target]!, entropy, row[target]! >= largest ? 1 : 0, mean], STATISTICS * r);
      });
      return y;
    },
    dispatch: (traits) => ({
      kernel: { name: "cross-entropy", source, entry: "statistics", constants: rowLanes(traits) },
      params: { rows, columns, grad_step: 0, loss_step: 0 },
      workgroups: rowGroups(rows, rowLanes(traits)),
    }),
  });
}

/**
 * Gradient of the logits: grad (softmax - onehot). `losses`: what crossEntropy gave, [R], or tokenStatistics, [R, 4]. `grad` is [R], or
 * [1] for all rows.
 */
export function crossEntropyBackward(logits: Tensor, targets: Tensor, losses: Tensor, grad: Tensor): Tensor {
  const { rows, columns } = matrixOf("crossEntropy", "logits", logits.shape);
  const perRow = sizeOf(grad.shape) === rows && rows > 1;
  if (!perRow) expectShape("crossEntropyBackward", "grad", grad.shape, [1]);
  const step = sizeOf(losses.shape) / rows;
  return tensor({
    name: "crossEntropyBackward",
    shape: logits.shape,
    inputs: [logits, targets, losses, grad],
    reference: (x, targets, losses, grad) =>
      x.map((v, i) => {
        const r = Math.floor(i / columns);
        const target = targets[r]!;
        if (target === IGNORE) return 0;
        const lse = losses[step * r]! + x[r * columns + target]!;
        return grad[perRow ? r : 0]! * (Math.exp(v - lse) - (i % columns === target ? 1 : 0));
      }),
    dispatch: (traits) => ({
      kernel: { name: "cross-entropy", source, entry: "backward", constants: rowLanes(traits) },
      params: { rows, columns, grad_step: perRow ? 1 : 0, loss_step: step },
      workgroups: rowGroups(rows, rowLanes(traits)),
    }),
  });
}
