/** Drawing the next token of each sequence on the device, so that only the token ids are read back. */
import source from "../../kernels/sample.wgsl" with { type: "text" };
import { expectShape, matrixOf } from "../tensor/shape";
import { type Tensor, tensor, type Values } from "../tensor/tensor";
import { WRITTEN } from "./count";
import { randomAt } from "./random";

/** What is drawn by: settings, counts and bias of every slot [S, ...], and which row of the logits is whose. */
export interface SampleInputs {
  /** How often each token of the vocabulary has occurred, in the prompt (1 each) and in what was written (WRITTEN each): [S, V] (u32). */
  readonly counts: Tensor;
  /**
   * Temperature, top-k, top-p, min-p, repetition, presence and frequency penalty: [S, 7]. Temperature 0 is greedy; top-k 0, top-p 1,
   * min-p 0, repetition penalty 1, the others 0 are off.
   */
  readonly settings: Tensor;
  /** Added to the logits: [S, V]. */
  readonly bias: Tensor;
  /**
   * Of each row its slot, its random seed, and how many tokens were drawn before this one: [R, 3] (u32). A slot past the last is none:
   * that row's token is 0.
   */
  readonly streams: Tensor;
}

/** Stands for the token of a row that has none, because a logit is not finite. */
export const NOT_FINITE = 0xffffffff;

/**
 * One token a row: [R, V] -> [R] (u32). Repetition penalty (https://arxiv.org/abs/1909.05858, section 4.1) for all that has
 * occurred, presence and frequency penalty for what was written (https://platform.openai.com/docs/api-reference), bias, temperature,
 * top-k, top-p (https://arxiv.org/abs/1904.09751), min-p (https://arxiv.org/abs/2407.01082), in this order; tokens equal to the
 * last one kept are kept too. The same seed and counter draw the same token. A row with a logit that is not finite, before or after
 * all that, has NOT_FINITE.
 */
export function sample(logits: Tensor, { counts, settings, bias, streams }: SampleInputs): Tensor {
  const { rows, columns } = matrixOf("sample", "logits", logits.shape);
  const [slots = 0] = counts.shape;
  expectShape("sample", "counts", counts.shape, [slots, columns]);
  expectShape("sample", "settings", settings.shape, [slots, 7]);
  expectShape("sample", "bias", bias.shape, [slots, columns]);
  expectShape("sample", "streams", streams.shape, [rows, 3]);
  return tensor({
    name: "sample",
    shape: [rows],
    dtype: "u32",
    inputs: [logits, counts, settings, bias, streams],
    reference: (...values) =>
      new Float64Array(rows).map((_, r) => {
        const [logits, counts, settings, bias, streams] = values as [Values, Values, Values, Values, Values];
        const [slot = 0, seed = 0, counter = 0] = streams.subarray(3 * r, 3 * r + 3);
        if (slot >= slots) return 0;
        const row = (values: Values, at: number, width = columns) => values.subarray(at * width, (at + 1) * width);
        const own = row(settings, slot, 7);
        const masses = keptMasses({
          logits: row(logits, r),
          counts: row(counts, slot),
          settings: own,
          bias: row(bias, slot),
        });
        if (!row(logits, r).every(Number.isFinite) || !masses.every(Number.isFinite)) return NOT_FINITE;
        return draw(masses, own[0]!, randomAt(seed, 0, counter));
      }),
    dispatch: ({ software }) => ({
      kernel: { name: "sample", source, entry: "forward", constants: { LANES: software ? 8 : 256 } },
      params: { rows, columns, slots },
      workgroups: [rows, 1, 1],
    }),
  });
}

/** exp(logit - largest) of every token that the filters keep, 0 for the others. Also the meaning that tests check. */
export function keptMasses({
  logits,
  counts,
  settings,
  bias,
}: Record<"logits" | "counts" | "settings" | "bias", Values>): Values {
  const [temperature = 1, topK = 0, topP = 1, minP = 0, penalty = 1, presence = 0, frequency = 0] = settings;
  const scaled = logits.map((v, c) => {
    const written = Math.floor(counts[c]! / WRITTEN);
    const penalised = counts[c]! > 0 ? (v > 0 ? v / penalty : v * penalty) : v;
    const added = bias[c]! - frequency * written - (written > 0 ? presence : 0);
    return (penalised + added) / (temperature > 0 ? temperature : 1);
  });
  const largest = scaled.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
  const masses = scaled.map((v) => Math.exp(v - largest));
  let least = 0;
  const descending = masses.slice().sort().reverse();
  if (topK > 0 && topK < masses.length) least = descending[topK - 1]!;
  if (topP < 1) {
    const kept = descending.filter((mass) => mass >= least);
    let missing = topP * kept.reduce((a, b) => a + b, 0);
    least = kept.find((mass) => (missing -= mass) <= 0) ?? least;
  }
  least = Math.min(1, Math.max(least, minP));
  if (temperature <= 0) least = 1;
  return masses.map((mass) => (mass >= least ? mass : 0));
}

function draw(masses: Values, temperature: number, random: number): number {
  if (temperature <= 0) return masses.findIndex((mass) => mass > 0);
  let aim = random * masses.reduce((a, b) => a + b, 0);
  const drawn = masses.findIndex((mass) => mass > 0 && (aim -= mass) < 0);
  return drawn >= 0 ? drawn : masses.findIndex((mass) => mass > 0);
}
