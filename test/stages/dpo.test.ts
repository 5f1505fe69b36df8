/** DPO: its first loss, its reference, and what a pair's company may not change. */
import { expect, test } from "bun:test";
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { PairExample } from "../../src/data/pairs";
import { expectedLoss, schema, stageOf } from "../../src/stages/dpo";
import { bytes, pairOf, smallContext, template, trainedSteps } from "../support/comparing";
import { onEachDevice } from "../support/device";

process.env.DAWNGRAD_CACHE = mkdtempSync(join(tmpdir(), "dawngrad-reference-"));

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
  ])("%o begins where policy and reference are one", async (given) => {
    const logged = await run(given);
    const wanted = expectedLoss(schema.parse({ kind: "dpo", data: "-", ...given }))!;
    expect(logged[0]!.loss).toBeCloseTo(wanted, 4);
    console.log(
      given,
      logged.map(({ loss, grad_norm }) => [loss, grad_norm]),
    );
  });
});
