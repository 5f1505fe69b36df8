/** The generalised Jensen-Shannon divergence between two rows of logits, fused: no probabilities are stored. */
import source from "../../kernels/divergence.wgsl" with { type: "text" };
import { expectShape, matrixOf, sizeOf } from "../tensor/shape";
import { type Tensor, tensor } from "../tensor/tensor";
import { IGNORE } from "./cross-entropy";
import { slice } from "./parts";
import { rowGroups, rowLanes } from "./reduce";

/** What divergenceStatistics tells of a row: the divergence, both log-sum-exps, and what the gradient needs. */
export const DIVERGENCE = 4;

/**
 * With p the student's softmax, q the teacher's and m = (1 - beta) p + beta q: beta KL(q || m) + (1 - beta) KL(p || m), in nats
 * (https://arxiv.org/abs/2306.13649, equation 1). As the paper's own code does, beta 0 is KL(q || p) and beta 1 is KL(p || q), which are
 * not its limits: there it goes to 0.
 */
export interface Divergence {
  readonly beta: number;
}

/** [R, V], [R, V], [R] (u32) -> [R, 4], zeros where the target is IGNORE. It has no gradient rule: the head has its own. */
export function divergenceStatistics(student: Tensor, teacher: Tensor, targets: Tensor, { beta }: Divergence): Tensor {
  const { rows, columns } = expectRows(student, teacher, targets);
  return tensor({
    name: "divergenceStatistics",
    shape: [rows, DIVERGENCE],
    inputs: [student, teacher, targets],
    reference: (s, t, targets) => {
      const y = new Float64Array(DIVERGENCE * rows);
      targets.forEach((target, r) => {
        if (target === IGNORE) return;
        const { logP, logQ, lseS, lseT } = logs(s, t, r, columns);
        let value = 0;
        let inner = 0;
        logP.forEach((a, c) => {
          const b = logQ[c]!;
          const [p, q] = [Math.exp(a), Math.exp(b)];
          if (beta === 0) value += q * (b - a);
          else if (beta === 1) value += p * (a - b);
          else {
            const m = Math.log((1 - beta) * p + beta * q);
            value += beta * q * (b - m) + (1 - beta) * p * (a - m);
            inner += p * (a - m);
          }
        });
        y.set([value, lseS, lseT, beta === 1 ? value : inner], DIVERGENCE * r);
      });
      return y;
    },
    dispatch: (traits) => ({
      kernel: { name: "divergence", source, entry: "statistics", constants: rowLanes(traits) },
      params: { rows, columns, grad_step: 0, beta },
      workgroups: rowGroups(rows, rowLanes(traits)),
    }),
  });
}

/** Gradient of the student's logits. `known`: what divergenceStatistics gave; `grad`: [R], or [1] for all rows. */
export function divergenceBackward(
  student: Tensor,
  teacher: Tensor,
  targets: Tensor,
  known: Tensor,
  grad: Tensor,
  { beta }: Divergence,
): Tensor {
  const { rows, columns } = expectRows(student, teacher, targets);
  expectShape("divergenceBackward", "known", known.shape, [rows, DIVERGENCE]);
  const perRow = sizeOf(grad.shape) === rows && rows > 1;
  if (!perRow) expectShape("divergenceBackward", "grad", grad.shape, [1]);
  return tensor({
    name: "divergenceBackward",
    shape: student.shape,
    inputs: [student, teacher, targets, known, grad],
    reference: (s, t, targets, known, grad) => {
      const y = new Float64Array(rows * columns);
      targets.forEach((target, r) => {
        if (target === IGNORE) return;
        const { logP, logQ } = logs(s, t, r, columns);
        const inner = known[DIVERGENCE * r + 3]!;
        logP.forEach((a, c) => {
          const b = logQ[c]!;
          const [p, q] = [Math.exp(a), Math.exp(b)];
          const between = () => (1 - beta) * p * (a - Math.log((1 - beta) * p + beta * q) - inner);
          const slope = beta === 0 ? p - q : beta === 1 ? p * (a - b - inner) : between();
          y[r * columns + c] = grad[perRow ? r : 0]! * slope;
        });
      });
      return y;
    },
    dispatch: (traits) => ({
      kernel: { name: "divergence", source, entry: "backward", constants: rowLanes(traits) },
      params: { rows, columns, grad_step: perRow ? 1 : 0, beta },
      workgroups: rowGroups(rows, rowLanes(traits)),
    }),
  });
}

/** The divergence of each row: [R, V], [R, V], [R] (u32) -> [R]. The teacher is a constant. */
export function divergence(student: Tensor, teacher: Tensor, targets: Tensor, options: Divergence): Tensor {
  const { rows } = expectRows(student, teacher, targets);
  const known = divergenceStatistics(student, teacher, targets, options);
  const values = slice(known, { count: rows, step: DIVERGENCE });
  return tensor({
    name: "divergence",
    shape: [rows],
    inputs: [values, student],
    reference: (values) => values,
    vjp: (grad) => [null, divergenceBackward(student, teacher, targets, known, grad, options)],
  });
}

function expectRows(student: Tensor, teacher: Tensor, targets: Tensor) {
  const { rows, columns } = matrixOf("divergence", "student", student.shape);
  expectShape("divergence", "teacher", teacher.shape, [rows, columns]);
  expectShape("divergence", "targets", [sizeOf(targets.shape)], [rows]);
  return { rows, columns };
}

/** Log-probabilities of row r of both. */
function logs(s: Float64Array, t: Float64Array, r: number, columns: number) {
  const of = (x: Float64Array) => {
    const row = x.subarray(r * columns, (r + 1) * columns);
    const largest = row.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
    const lse = Math.log(row.reduce((total, v) => total + Math.exp(v - largest), 0)) + largest;
    return { lse, log: row.map((v) => v - lse) };
  };
  const [student, teacher] = [of(s), of(t)];
  return { logP: student.log, logQ: teacher.log, lseS: student.lse, lseT: teacher.lse };
}
