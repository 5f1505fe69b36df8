/**
 * Differentiable log-probabilities of tokens, for losses that are no sum over rows: of preferences, or of ratios of whole sequences.
 * The backward pass computes each chunk's logits again, so that one chunk's live at a time.
 */
import { accumulate } from "../ops/add";
import { crossEntropyBackward, STATISTICS, tokenStatistics } from "../ops/cross-entropy";
import { scale } from "../ops/elementwise";
import { zeros } from "../ops/fill";
import { slice } from "../ops/parts";
import { expectShape, matrixOf } from "../tensor/shape";
import { type Tensor, tensor } from "../tensor/tensor";
import { type ChunkOptions, chunksOf, type HeadTerm, headGradient, inputsOf, joined } from "./head";

export interface LogProbs {
  /** [N]: log softmax(logits / temperature)[target]; 0 where the target is IGNORE. Differentiable. */
  readonly logProbs: Tensor;
  /** [N, 4]: minus it, the entropy in nats, 1 where the target is the likeliest, and the mean logit: only told. */
  readonly statistics: Tensor;
}

export interface LogProbOptions extends ChunkOptions {
  /** What the logits are divided by. */
  readonly temperature?: number | undefined;
}

/** Of the logits that all terms add up to. `targets`: [N] (u32). */
export function logProbs(
  given: readonly HeadTerm[],
  targets: Tensor,
  { temperature = 1, ...options }: LogProbOptions = {},
): LogProbs {
  const terms = given.map(({ x, parts }) => ({ x: scale(x, 1 / temperature), parts }));
  const { rows: N } = matrixOf("logProbs", "x", terms[0]!.x.shape);
  expectShape("logProbs", "targets", targets.shape, [N]);
  const chunks = chunksOf(terms, options);
  const parts = chunks.map(({ rows, logits }) => tokenStatistics(logits(), rows(targets)));
  const statistics = parts.length === 1 ? parts[0]! : assembled(N, parts);
  const values = scale(slice(statistics, { count: N, step: STATISTICS }), -1);
  const vjp = (grad: Tensor) => {
    const gradient = headGradient(terms, chunks);
    const dLosses = scale(grad, -1);
    for (const chunk of chunks) {
      const { rows, logits } = chunk;
      gradient.add(chunk, crossEntropyBackward(logits(), rows(targets), rows(statistics), rows(dLosses)));
    }
    const { dx, dParts } = gradient.whole();
    return [null, ...terms.flatMap((_, i) => [dx[i]!, ...dParts[i]!])];
  };
  const inputs = [values, ...inputsOf(terms)];
  return { logProbs: tensor({ name: "logProbs", shape: [N], inputs, reference: (values) => values, vjp }), statistics };

  function assembled(rows: number, parts: readonly Tensor[]): Tensor {
    const whole = zeros([rows, STATISTICS]);
    return joined(
      whole,
      parts.map((part, i) => accumulate(chunks[i]!.rows(whole), part)),
    );
  }
}
