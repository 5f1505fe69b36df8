/** Log-probabilities of completions: each what the model says of it alone, whatever runs beside it, and what its tokens count for. */
import { expect, test } from "bun:test";
import type { Example } from "../../src/data/examples";
import { completionLogProbs, type Weighted } from "../../src/eval/completions";
import { Engine } from "../../src/generate/engine";
import { device, onEachDevice } from "../support/device";
import { toyModel } from "../support/model";

const example = (prompt: number, answer: number, seed: number): Example => {
  const ids = Uint32Array.from({ length: prompt + answer }, (_, i) => (7 * i * i + 3 * i + 11 * seed) % 50);
  return { ids, trained: Uint8Array.from(ids, (_, i) => Number(i >= prompt)), targets: answer, where: "a row" };
};
const examples = [
  example(3, 4, 1),
  example(9, 1, 2),
  example(1, 12, 3),
  example(5, 25, 4),
  example(2, 2, 5),
  example(11, 7, 6),
  example(4, 9, 7),
];

/** log softmax(logits)[id], in float64. */
function logProbOf(logits: Float32Array, id: number): number {
  const most = logits.reduce((a, b) => Math.max(a, b));
  return logits[id]! - most - Math.log(logits.reduce((sum, v) => sum + Math.exp(v - most), 0));
}

onEachDevice(() => {
  test("a completion is worth the same alone and among neighbours of other lengths", async () => {
    using toy = toyModel();
    const { model, slabs } = toy;
    const found = async (asked: readonly Weighted[], rows: number) => {
      const values: number[] = [];
      const scoring = { device: device(), model, slabs, rows, length: 32 };
      for await (const [at, value] of completionLogProbs(scoring, asked)) values[at] = value;
      return values;
    };
    const together = await found(
      examples.map((example) => ({ example })),
      7,
    );
    for (const [i, example] of examples.entries()) {
      const [alone] = await found([{ example }], 1);
      expect(Math.abs(alone! - together[i]!)).toBeLessThan(1e-5 * Math.max(1, Math.abs(alone!)));
      const [none, half] = await found(
        [0, 0.5].map((w) => ({ example, weights: new Float32Array(example.targets).fill(w) })),
        2,
      );
      expect(none).toBeCloseTo(0, 6);
      expect(half! / alone!).toBeCloseTo(0.5, 5);
    }
    // What the decoder says of each next token, added up.
    using engine = new Engine(device(), model, slabs);
    for (const [i, { ids, trained }] of examples.entries()) {
      let sum = 0;
      for (let t = 1; t < ids.length; t++)
        if (trained[t]) sum += logProbOf(engine.nextLogits([...ids.subarray(0, t)]), ids[t]!);
      expect(Math.abs(sum - together[i]!)).toBeLessThan(2e-4 * Math.max(1, Math.abs(sum)));
    }
  });
});
