/** DPO: its first loss, its reference, and what a pair's company may not change. */
import { expect, test } from "bun:test";
import type { PairExample } from "../../src/data/pairs";
import { expectedLoss, schema, stageOf } from "../../src/stages/dpo";
import { ownCacheFolder } from "../support/cache";
import { bytes, pairOf, smallContext, template, trainedSteps } from "../support/comparing";
import { onEachDevice } from "../support/device";

ownCacheFolder();

const pairs: readonly PairExample[] = [
  pairOf([3, 9, 12], [4, 5, 6, 35], [7, 35]),
  pairOf([1, 2], [11, 13, 35], [30, 31, 32, 33, 35]),
  pairOf([20, 21, 22, 23, 24], [8, 35], [9, 10, 35]),
  pairOf([5], [14, 15, 16, 17, 18, 35], [19, 35]),
];

const dataOf = (train: readonly PairExample[]) => ({ train, held: [], template, tokenizer: bytes, lines: [] });

async function run(given: Record<string, unknown>, train = pairs, steps = 3) {
  const config = schema.parse({ kind: "dpo", data: "-", shuffle: false, ...given });
  using context = await smallContext();
  using stage = await stageOf(config, context, dataOf(train), 12);
  return await trainedSteps(stage, steps);
}

onEachDevice(() => {
  test.each([
    { loss: "sigmoid" },
    { loss: "ipo" },
    { loss: "hinge", precompute: false },
    { loss: "sigmoid", precompute: false, lora: {} },
    { loss: "aot", batch: { rows: 3, accumulate: 2 } },
    { loss: "sigmoid", ldAlpha: 0.5 },
    { loss: "sigmoid", divergence: "forward_kl" },
  ])("%o begins where policy and reference are one, and learns", async (given) => {
    const logged = await run(given);
    const wanted = expectedLoss(schema.parse({ kind: "dpo", data: "-", ...given }))!;
    expect(Math.abs(logged[0]!.loss! - wanted)).toBeLessThan(1e-5 * wanted);
    expect(logged[2]!.loss).toBeLessThan(wanted);
    expect(logged[2]!["rewards/accuracies"]).toBe(1);
  });

  test.each([
    [{ precompute: false }, 0],
    [{ precompute: false, lora: {}, batch: { rows: 2, accumulate: 2 } }, 0],
    [{ batch: { rows: 4 } }, 1e-4],
    [{ batch: { rows: 1, accumulate: 4 } }, 1e-4],
    [{ batch: { rows: 3, accumulate: 2 }, shuffle: true }, 1e-4],
  ])("%o: rewards begin at 0, however the reference was computed", async (given, most) => {
    const [first] = await run(given, pairs, 1);
    for (const side of ["chosen", "rejected"]) expect(Math.abs(first![`rewards/${side}`]!)).toBeLessThanOrEqual(most);
  });

  test("a longer prompt changes no length that a loss divides by", async () => {
    const longer = pairs.map(({ chosen, rejected, ...pair }) => {
      const on = (side: typeof chosen) => ({
        ...side,
        ids: Uint32Array.from([2, 2, ...side.ids]),
        trained: Uint8Array.from([0, 0, ...side.trained]),
      });
      return { ...pair, chosen: on(chosen), rejected: on(rejected) };
    });
    const [first] = await run({ loss: "ipo", beta: 0.5 }, longer, 1);
    expect(first!.loss).toBeCloseTo(1, 4);
  });
});

test("a reference of another tokenizer, or with too little context, is refused", async () => {
  using context = await smallContext();
  const other = { ...bytes, files: { ...bytes.files, tokenizer: { ...bytes.files.tokenizer, version: "2.0" } } };
  const config = schema.parse({ kind: "dpo", data: "-", reference: "somebody/else" });
  const opened = (tokenizer: typeof bytes) => ({
    ...context,
    open: async () => ({ ...context, tokenizer, [Symbol.dispose]() {} }),
  });
  await expect(stageOf(config, opened(other), dataOf(pairs), 12)).rejects.toThrow(
    "the reference somebody/else has another tokenizer than the policy",
  );
  await expect(stageOf(config, opened(bytes), dataOf(pairs), 500)).rejects.toThrow(
    "the reference somebody/else has a context of",
  );
});
