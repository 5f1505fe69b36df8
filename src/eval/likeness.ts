/** How near a model is to another on the same tokens: the losses of both, and the divergence between what they say. */
import { Program } from "../autograd/program";
import type { Device } from "../device/device";
import type { HeadLossOf } from "../model/distillation";
import type { Model } from "../model/model";
import { nextToken } from "../model/next-token";
import { bindAll, type Slab } from "../model/slab";
import { crossEntropyBackward, IGNORE, STATISTICS, tokenStatistics } from "../ops/cross-entropy";
import { DIVERGENCE, divergenceStatistics } from "../ops/divergence";
import { slice } from "../ops/parts";
import { view } from "../tensor/tensor";
import { ticker } from "../tick";
import { expectFinite } from "./perplexity";
import { type Sequence, scoredIn } from "./sequence";

export interface Read {
  readonly model: Model;
  readonly slabs: readonly Slab[];
}

/** Sums over the scored tokens, in nats. */
export interface Likeness {
  readonly tokens: number;
  /** -log p. */
  readonly nats: { readonly original: number; readonly other: number };
  /** KL(original || other). */
  readonly divergence: number;
}

/** Tokens of a batch, about. */
const BATCH_TOKENS = 1024;

export async function likeness(
  device: Device,
  original: Read,
  other: Read,
  sequences: readonly Sequence[],
  onProgress: (done: number, total: number) => void = () => {},
): Promise<Likeness> {
  const length = Math.max(...sequences.map(({ ids }) => ids.length - 1));
  const rows = Math.min(sequences.length, Math.max(1, Math.floor(BATCH_TOKENS / length)));
  const graph = nextToken(other.model, { rows, length, lossOf: beside(original.model) });
  using program = new Program(device, [graph.sums], {
    bind: bindAll([...new Set([...original.slabs, ...other.slabs])]),
  });
  program.feed(graph.positions, graph.rowPositions);
  program.feed(graph.weight, new Float32Array([1]));
  const [tokens, targets] = [new Uint32Array(rows * length), new Uint32Array(rows * length)];
  const sums = [0, 0, 0];
  const pause = ticker();
  for (let at = 0; at < sequences.length; at += rows) {
    tokens.fill(0);
    targets.fill(IGNORE);
    sequences.slice(at, at + rows).forEach(({ ids, trained }, row) => {
      tokens.set(ids.subarray(0, -1), row * length);
      for (let i = 1; i < ids.length; i++) if (trained[i]) targets[row * length + i - 1] = ids[i]!;
    });
    await pause();
    program.feed(graph.tokens, tokens);
    program.feed(graph.targets, targets);
    program.run();
    program.read(graph.sums).forEach((sum, i) => {
      sums[i]! += sum;
    });
    onProgress(Math.min(at + rows, sequences.length), sequences.length);
  }
  const [own = 0, first = 0, divergence = 0] = sums;
  const count = scoredIn(sequences);
  expectFinite(own / count, "the text");
  return { tokens: count, nats: { original: first, other: own }, divergence };
}

/** Of each row the loss of the model, that of the original, and the divergence from it. */
function beside(original: Model): HeadLossOf {
  return (model, hidden, { tokens, positions, rows: at, targets, weight, ...shape }) => {
    const first = at(original.hidden(tokens, positions, shape));
    const column = (x: ReturnType<typeof view>, step: number) => {
      const [count = 0] = x.shape;
      return view(slice(x, { count, step }), [count, 1]);
    };
    return model.loss(
      hidden,
      {
        metrics: ["nll", "original", "divergence"],
        chunk(logits, rows, weights) {
          const wanted = original.logits(rows(first));
          const own = rows(targets);
          const [statistics, others] = [tokenStatistics(logits, own), tokenStatistics(wanted, own)];
          const apart = divergenceStatistics(logits, wanted, own, { beta: 0 });
          return {
            values: [column(statistics, STATISTICS), column(others, STATISTICS), column(apart, DIVERGENCE)],
            dLogits: crossEntropyBackward(logits, own, statistics, weights),
          };
        },
      },
      weight,
    );
  };
}
