/** Stages over preferences against TRL's own trainers: what they log of three steps on a small model (test/golden/trl_preferences.py). */
import { describe, expect, test } from "bun:test";
import type { PairExample } from "../../src/data/pairs";
import { SCORE } from "../../src/model/architecture";
import type { Slab } from "../../src/model/slab";
import type { Built, Context } from "../../src/stages/context";
import * as cpo from "../../src/stages/cpo";
import * as dpo from "../../src/stages/dpo";
import * as kto from "../../src/stages/kto";
import * as orpo from "../../src/stages/orpo";
import * as reward from "../../src/stages/reward";
import golden from "../golden/trl_preferences.json";
import { ownCacheFolder } from "../support/cache";
import {
  bytes,
  example,
  type Logged,
  pairOf,
  scoredContext,
  smallContext,
  template,
  trainedSteps,
} from "../support/comparing";
import { onEachDevice } from "../support/device";

ownCacheFolder();

const pairs = golden.pairs.map(({ prompt, chosen, rejected }) => pairOf(prompt, chosen, rejected));
const crossed = golden.crossed.map(({ prompt, chosen, rejected }) => pairOf(prompt, chosen, rejected));
const answers = golden.judged.map(({ prompt, answer, good }) => ({
  answer: example(prompt, answer),
  good,
  prompt: prompt.join(),
  where: "a row",
}));
const shared = { template, tokenizer: bytes, held: [], lines: [] };
const common = { data: "-", shuffle: false, epochs: 3 };
const LENGTH = 12;

/** The matrices that the golden script gives an adapter. */
function setFirstMatrices(weights: Slab): void {
  for (const parameter of weights.parameters.list)
    if (parameter.name.endsWith("lora_A.weight"))
      weights.write(
        parameter,
        Float32Array.from({ length: parameter.size }, (_, i) => 0.2 * Math.sin(0.37 * i)),
      );
}

async function steps(stage: Built, lora: boolean): Promise<Logged[]> {
  using built = stage;
  if (lora) setFirstMatrices(built.trained[0]!.weights);
  return await trainedSteps(built, 3);
}

const lora = { rank: 4, alpha: 8, targets: ["c_attn", "c_fc"] };

async function runDpo(given: Record<string, unknown>, train = pairs): Promise<Logged[]> {
  const config = dpo.schema.parse({ kind: "dpo", ...common, batch: { rows: 4 }, ...given });
  using context = await smallContext();
  return await steps(await dpo.stageOf(config, context, { ...shared, train }, LENGTH), config.lora !== undefined);
}

/** Losses within 1e-5, what is told within 2e-5, gradient norms within 1e-4, of their size where that is above 1. */
function expectLogged(
  got: readonly Logged[],
  wanted: readonly Readonly<Record<string, number>>[],
  names: readonly string[],
): void {
  expect(got).toHaveLength(wanted.length);
  for (const [step, line] of wanted.entries()) {
    for (const name of ["loss", "grad_norm", ...names]) {
      const [found, value] = [got[step]![name]!, line[name]!];
      expect(value, `${name} in the golden file`).toBeNumber();
      const limit = name === "loss" ? 1e-5 : name === "grad_norm" ? 1e-4 : 2e-5;
      expect(Math.abs(found - value), `${name} of step ${step}: ${found}, and TRL's ${value}`).toBeLessThan(
        limit * Math.max(1, Math.abs(value)),
      );
    }
  }
}

const ofPairs = ["rewards/chosen", "rewards/rejected", "rewards/margins", "logps/chosen", "logps/rejected"];
const ofTokens = ["logits/chosen", "logits/rejected", "entropy", "mean_token_accuracy"];

onEachDevice(() => {
  const plain = (
    [
      "sigmoid",
      "hinge",
      "ipo",
      "nca_pair",
      "bco_pair",
      "sppo_hard",
      "aot",
      "aot_unpaired",
      "apo_zero",
      "apo_down",
    ] as const
  ).concat(["discopop", "sft", "sigmoid_norm"] as never[]);
  const runs: [keyof typeof golden.dpo, Record<string, unknown>][] = [
    ...plain.map((loss): [typeof loss, Record<string, unknown>] => [loss, { loss }]),
    ["exo_pair", { loss: "exo_pair", labelSmoothing: 1e-3 }],
    ["robust", { loss: "robust", labelSmoothing: 0.1 }],
    ["aot, smoothed", { loss: "aot", labelSmoothing: 0.1 }],
    ["aot_unpaired, smoothed", { loss: "aot_unpaired", labelSmoothing: 0.1 }],
    ["sigmoid, forward_kl", { divergence: "forward_kl" }],
    ["sigmoid, js_divergence", { divergence: "js_divergence" }],
    ["sigmoid, alpha_divergence", { divergence: "alpha_divergence" }],
    ["ipo, js_divergence", { loss: "ipo", divergence: "js_divergence" }],
    ["ld_alpha", { ldAlpha: 0.5 }],
    ["wpo", { wpo: true }],
    ["mpo", { loss: "mpo" }],
    ["sigmoid+sft", { loss: "sigmoid+sft" }],
    ["synced", { precompute: false, sync: { every: 1, share: 0.6 } }],
    ["adapter", { lora }],
    ["accumulated", { batch: { rows: 1, accumulate: 4 } }],
    ["adapter, accumulated", { lora, batch: { rows: 1, accumulate: 4 } }],
    ["crossed", {}],
  ];
  test.each(runs)("dpo: %s", async (name, given) => {
    const wanted = golden.dpo[name];
    // TRL tells means of micro-batches' means of a token.
    const train = name === "crossed" || name.startsWith("aot") ? crossed : pairs;
    const told = name.includes("accumulated") ? ofPairs : [...ofPairs, ...ofTokens];
    expectLogged(await runDpo(given, train), wanted, told);
  });
  test.each(["sigmoid", "adapter", "ld_alpha", "mpo"] as const)(
    "dpo: %s, the reference computed with each step",
    async (name) => {
      const given = { sigmoid: {}, adapter: { lora }, ld_alpha: { ldAlpha: 0.5 }, mpo: { loss: "mpo" } }[name];
      expectLogged(await runDpo({ ...given, precompute: false }), golden.dpo[name], ofPairs);
    },
  );
  test.each(["mpo", "sft", "ld_alpha", "sigmoid+sft"] as const)(
    "dpo: %s, micro-batches of other sizes",
    async (name) => {
      const given = {
        mpo: { loss: "mpo" },
        sft: { loss: "sft" },
        ld_alpha: { ldAlpha: 0.5 },
        "sigmoid+sft": { loss: "sigmoid+sft" },
      }[name];
      for (const rows of [1, 3])
        expectLogged(await runDpo({ ...given, batch: { rows, accumulate: 4 } }), golden.dpo[name], [
          ...ofPairs,
          ...ofTokens,
        ]);
    },
  );

  test("dpo: sft is of whole answers, whatever their tokens count for in the other losses", async () => {
    const [first] = await runDpo({ loss: "sigmoid+sft", ldAlpha: 0.5 });
    expect(first!.loss).toBeCloseTo(Math.LN2 + golden.dpo.sft[0]!.loss, 4);
  });

  test.each([
    ["kto", {}],
    ["apo_zero_unpaired", { loss: "apo_zero_unpaired" }],
    ["weighted", { undesirable: 1.33 }],
  ] as const)("kto: %s", async (name, given) => {
    for (const batch of [{ rows: 7 }, { rows: 2, accumulate: 4 }]) {
      const config = kto.schema.parse({ kind: "kto", ...common, batch, ...given });
      using context = await smallContext();
      const got = await steps(await kto.stageOf(config, context, { ...shared, train: answers }, LENGTH), false);
      const told = name === "apo_zero_unpaired" ? ofPairs : [...ofPairs, "kl"];
      expectLogged(got, golden.kto[name], [...told, "logits/chosen", "logits/rejected"]);
    }
  });

  test("orpo, its cross-entropy over the prompt too", async () => {
    const config = orpo.schema.parse({ kind: "orpo", ...common, batch: { rows: 4 }, nll: "all" });
    using context = await smallContext();
    const got = await steps(await orpo.stageOf(config, context, { ...shared, train: pairs }, LENGTH), false);
    expectLogged(got, golden.orpo, [...ofPairs, "nll_loss", "log_odds_ratio", "log_odds_chosen"]);
  });

  test.each([
    ["sigmoid", {}],
    ["sigmoid, smoothed", { labelSmoothing: 0.1 }],
    ["hinge", { loss: "hinge" }],
    ["ipo", { loss: "ipo" }],
    ["simpo", { loss: "simpo" }],
    ["simpo, alpha", { loss: "simpo", alpha: 0.25 }],
  ] as const)("cpo: %s", async (name, given) => {
    const config = cpo.schema.parse({ kind: "cpo", ...common, batch: { rows: 4 }, ...given });
    using context = await smallContext();
    const got = await steps(await cpo.stageOf(config, context, { ...shared, train: pairs }, LENGTH), false);
    expectLogged(got, golden.cpo[name], ofPairs);
  });

  const sines = (i: number) => Math.sin(i + 1);
  const withMargins: readonly PairExample[] = pairs.map((pair, i) => ({ ...pair, margin: golden.margins[i]! }));
  test.each([
    ["zeros", {}, () => 0, pairs],
    ["sines", {}, sines, pairs],
    ["centred", { centring: 0.01 }, sines, pairs],
    ["margins", {}, sines, withMargins],
    ["adapter", { lora }, sines, pairs],
  ] as const)("reward: %s", async (name, given, head, train) => {
    const config = reward.schema.parse({
      kind: "reward",
      ...common,
      batch: { rows: 4 },
      normalise: { samples: 0 },
      ...given,
    });
    using context: Context & Disposable = await scoredContext(head);
    const data = { ...shared, train };
    const got = await steps(await reward.stageOf(config, context, data, LENGTH), config.lora !== undefined);
    expectLogged(got, golden.reward[name], ["accuracy", "margin", "min_reward", "mean_reward", "max_reward"]);
  });
});

describe("the names", () => {
  test("the scalar head is transformers'", () => expect(SCORE).toBe("score.weight"));
});
