/** How far a student's last hidden states are from a teacher's, each a mean over rows: what is learned of them beside the logits. */
import { add } from "../ops/add";
import { cosine } from "../ops/cosine";
import { scale, square, subtract } from "../ops/elementwise";
import { fill } from "../ops/fill";
import { layerNorm } from "../ops/layer-norm";
import { matmul } from "../ops/matmul";
import { slice } from "../ops/parts";
import { sum } from "../ops/reduce";
import { matrixOf } from "../tensor/shape";
import { type Tensor, VIEW_ALIGNMENT, view } from "../tensor/tensor";

/** [N, C] and [N, C'], rows of sequences of `length` -> [1], a sum over rows. */
export type HiddenLoss = (student: Tensor, teacher: Tensor, length: number) => Tensor;

/** 1 - cos of each row: both of one width (DistilBERT, https://arxiv.org/abs/1910.01108, section 3). */
export const apart: HiddenLoss = (student, teacher) => {
  const { rows } = matrixOf("apart", "student", student.shape);
  return sum(subtract(fill([rows], 1), cosine(student, teacher)));
};

/**
 * Of each row the mean square of the difference between its correlations with the rows of its sequence in the student and in the
 * teacher, whatever their widths: similarity-preserving distillation (https://arxiv.org/abs/1907.09682), with each row centred and
 * scaled to its standard deviation.
 */
export const unrelated: HiddenLoss = (student, teacher, length) => {
  const { rows } = matrixOf("unrelated", "student", student.shape);
  const [own, wanted] = [correlations(student, length), correlations(teacher, length)];
  const squares = own.map((each, i) => sum(square(subtract(each, wanted[i]!)), 1 / length));
  if (squares.length !== rows / length) throw new Error(`${rows} rows are no sequences of ${length}`);
  return squares.reduce((total, one) => add(total, one));
};

/** For each sequence [length, length]. */
function correlations(hidden: Tensor, length: number): Tensor[] {
  const { rows, columns } = matrixOf("correlations", "hidden", hidden.shape);
  const scaled = layerNorm(hidden, fill([columns], 1), fill([columns], 0));
  return Array.from({ length: Math.floor(rows / length) }, (_, i) => {
    const offset = i * length * columns;
    const shape = [length, columns];
    const own =
      offset % VIEW_ALIGNMENT === 0
        ? view(scaled, shape, { offset })
        : view(slice(scaled, { first: offset, count: length * columns }), shape);
    return scale(matmul(own, own, { transposeB: true }), 1 / columns);
  });
}
