/** What goes wrong elsewhere when a policy learns from rewards, each with the number that proves ours free of it. */
import { describe, expect, test } from "bun:test";
import { gradients } from "../../src/autograd/gradients";
import { interpret } from "../../src/autograd/interpret";
import { Decoder } from "../../src/generate/decoder";
import { rollouts } from "../../src/generate/rollouts";
import { sampling } from "../../src/generate/sampling";
import { clipped, divergence } from "../../src/model/policy-losses";
import { exp, multiply, subtract } from "../../src/ops/elementwise";
import { sum } from "../../src/ops/reduce";
import * as grpo from "../../src/stages/grpo";
import { groupAdvantages } from "../../src/stages/online/advantages";
import type { Answer } from "../../src/stages/online/answers";
import { adapted, advantagesOf, divergences, whitened } from "../../src/stages/online/estimates";
import { ppoWorth } from "../../src/stages/online/expected";
import { hasSignal } from "../../src/stages/online/rounds";
import { watch } from "../../src/stages/online/watch";
import * as ppo from "../../src/stages/ppo";
import * as rloo from "../../src/stages/rloo";
import { detach, input } from "../../src/tensor/tensor";
import golden from "../golden/trl_grpo.json";
import { smallContext } from "../support/comparing";
import { device, onEachDevice } from "../support/device";
import { answerOf, oneStep } from "../support/online";

const common = { data: "-", rewards: ["exact"] };
const groups = { size: 4, scale: "group", aggregation: "sum_then_normalize", weights: [1] } as const;

/** Every answer of the golden file under each of the losses. */
function answers(count: number): Answer[] {
  return Array.from({ length: count }, (_, i) => {
    const k = i % 4;
    const ids = golden.completions[k]!;
    const tokens = {
      old: golden.old_log_probs[k]!,
      reference: golden.reference_log_probs[k]!,
      advantages: ids.map(() => golden.advantages[k]! + 0.1 * i),
    };
    return answerOf(golden.prompts[k >> 1]!, ids, tokens, { ended: i % 2 === 1 });
  });
}

const losses = ["grpo", "bnpo", "dr_grpo", "dapo", "cispo", "sapo"] as const;

describe("a step is the same however it is cut into micro-batches", () => {
  for (const loss of losses)
    test(loss, async () => {
      const config = grpo.schema.parse({ kind: "grpo", ...common, loss, beta: 0.04 });
      const all = answers(8);
      const run = async (rows: number) => {
        using context = await smallContext();
        return oneStep(
          { ...context, temperature: 1, rows, objective: grpo.objectiveOf(config), weigh: grpo.weighing(config) },
          all,
        );
      };
      const [whole, halves, single] = [await run(8), await run(4), await run(1)];
      for (const other of [halves, single]) {
        expect(other.told.grad_norm! / whole.told.grad_norm!).toBeCloseTo(1, 5);
        expect(other.told.loss!).toBeCloseTo(whole.told.loss!, 5);
        const largest = whole.gradients.reduce((a, b) => Math.max(a, Math.abs(b)), 0);
        const worst = whole.gradients.reduce((a, b, i) => Math.max(a, Math.abs(b - other.gradients[i]!)), 0);
        expect(worst / largest).toBeLessThan(1e-5);
      }
    });
});

describe("answers that were cut off are left out of everything", () => {
  for (const loss of losses)
    test(loss, async () => {
      const config = grpo.schema.parse({ kind: "grpo", ...common, loss, beta: 0.04 });
      const all = answers(4);
      const masked = all.map((answer) => ({ ...answer, counts: answer.ended }));
      const run = async (given: readonly Answer[]) => {
        using context = await smallContext();
        return oneStep(
          { ...context, temperature: 1, rows: 4, objective: grpo.objectiveOf(config), weigh: grpo.weighing(config) },
          given,
        );
      };
      const [few, some] = [await run(all.filter(({ ended }) => ended)), await run(masked)];
      for (const name of ["loss", "grad_norm", "entropy", "kl"])
        expect(some.told[name]!, name).toBeCloseTo(few.told[name]!, 5);
      const none = await run(all.map((answer) => ({ ...answer, counts: false })));
      expect(none.told.loss).toBe(0);
      expect(none.told.grad_norm).toBe(0);
      for (const value of Object.values(none.told)) expect(value).toBeFinite();
    });
});

test("the losses have one gradient while policy and writer are one, as TRL's", async () => {
  const norms: number[] = [];
  for (const loss of losses) {
    const config = grpo.schema.parse({ kind: "grpo", ...common, loss });
    using context = await smallContext();
    const given = golden.completions.map((ids, i) =>
      answerOf(golden.prompts[i >> 1]!, ids, {
        old: golden.current_log_probs[i]!,
        advantages: ids.map(() => golden.advantages[i]!),
      }),
    );
    const step = {
      ...context,
      temperature: golden.temperature,
      rows: 4,
      objective: grpo.objectiveOf(config),
      weigh: grpo.weighing(config),
    };
    norms.push(oneStep(step, given).told.grad_norm!);
  }
  const [of, bnpo, , dapo, cispo, sapo] = norms;
  expect(sapo! / of!).toBeCloseTo(1, 5);
  expect(dapo! / bnpo!).toBeCloseTo(1, 5);
  expect(cispo! / bnpo!).toBeCloseTo(1, 5);
});

test("padding enters no figure of PPO's", () => {
  const worth = (longer: number) => {
    const given = [3, 5, 2].map((n, i) =>
      answerOf([1, 2], Array(n + (i === 1 ? longer : 0)).fill(4), {
        old: Array.from({ length: n + (i === 1 ? longer : 0) }, (_, t) => -1 - 0.3 * t),
      }),
    );
    const rows = given.map(({ tokens }) => tokens.old!.map((v) => v - 0.1));
    return ppoWorth(
      { answers: given, scores: [1, 2, 3], references: rows, values: rows.map((row) => row.map(() => 0.5)) },
      ppo.schema.parse({ kind: "ppo", ...common, kl: {} }) as never as Parameters<typeof ppoWorth>[1],
    );
  };
  const { metrics } = worth(0);
  // Means over answers of sums over their tokens: (3 + 0.9) + (5 + 3) + (2 + 0.3) over 3, whatever lies behind an answer.
  expect(metrics["objective/entropy"]).toBeCloseTo((3.9 + 8 + 2.3) / 3, 5);
  expect(metrics["objective/kl"]).toBeCloseTo((0.3 + 0.5 + 0.2) / 3, 5);
});

describe("the score stands on the last token", () => {
  test("and what is behind it is worth nothing", () => {
    const s = 2;
    expect(advantagesOf([0, 0, s], [0, 0, 0], { gamma: 1, lambda: 1 })).toEqual([s, s, s]);
    const discounted = advantagesOf([0, 0, s], [0, 0, 0], { gamma: 1, lambda: 0.95 });
    for (const [t, share] of [0.9025, 0.95, 1].entries()) expect(discounted[t]!).toBeCloseTo(share * s, 12);
  });
  test("and its penalty goes by the token that ends answers", () => {
    const config = (missingEnd: object) => ppo.schema.safeParse({ kind: "ppo", ...common, missingEnd });
    expect(config({ penalty: 1 }).success).toBe(true);
    expect(config({ score: -1 }).success).toBe(true);
    expect(config({}).success).toBe(false);
    expect(config({ penalty: 1, score: -1 }).success).toBe(false);
  });
});

describe("rewards that are null or all the same", () => {
  test("are worth nothing, and move no other", () => {
    const { values } = groupAdvantages([[1, null, 0, null]], groups);
    expect(values.map((v) => Number(v.toFixed(6)))).toEqual([0.707007, 0, -0.707007, 0]);
    expect(groupAdvantages([[null, 2, null, null]], groups)).toEqual({ values: [0, 0, 0, 0], signal: [false] });
    expect(groupAdvantages([[null, null, null, null]], groups).values).toEqual([0, 0, 0, 0]);
  });
  test("are seen by their range, since two ways to add up differ in their last bits", () => {
    const same = [0.1 + 0.2, 0.3, 0.1 + 0.2, 0.3];
    expect(new Set(same).size).toBe(2);
    expect(groupAdvantages([same], groups)).toEqual({ values: [0, 0, 0, 0], signal: [false] });
    const group = same.map((reward) => answerOf([1], [2], {}, { rewards: [reward] }));
    expect(hasSignal(group, [1], false)).toBe(false);
  });
  test("of several each is looked at where each is normalised", () => {
    const group = [
      [1, 0],
      [0, 1],
    ].map((rewards) => answerOf([1], [2], {}, { rewards }));
    expect(hasSignal(group, [1, 1], false)).toBe(false);
    expect(hasSignal(group, [1, 1], true)).toBe(true);
  });
});

onEachDevice(() => {
  for (const temperature of [1, 0.7])
    test(`the first ratio is 1 at temperature ${temperature}`, async () => {
      using context = await smallContext();
      const prompts = [[3, 9, 12], [1, 2], [3, 9, 12], [7]];
      using decoder = new Decoder(device(), context.model, [context.weights], { slots: 2, capacity: 12 });
      const settings = sampling.parse({ temperature, maxTokens: 6, seed: 5 });
      const written = [...rollouts(decoder, prompts, { ...settings, logProbs: "tempered" })];
      const given = written.map(({ index, ids, logProbs }) =>
        answerOf(prompts[index]!, ids, { old: [...logProbs], advantages: ids.map(() => 1) }),
      );
      const config = grpo.schema.parse({ kind: "grpo", ...common });
      // The sums of the ratios less 1, and of their squares: each ratio is 1, and not only their mean.
      const { told } = oneStep(
        {
          ...context,
          temperature,
          rows: 2,
          objective: (on) => ({
            ...grpo.objectiveOf(config)(on),
            told: {
              off: sum(
                multiply(
                  subtract(detach(on.policy), on.fed.old),
                  multiply(subtract(detach(on.policy), on.fed.old), on.ofTokens),
                ),
              ),
            },
          }),
          weigh: grpo.weighing(config),
        },
        given,
      );
      expect(Math.sqrt(told.off!)).toBeLessThan(1e-5);
    });
});

test("filters that would make ratios wrong are no settings of training", () => {
  for (const [schema, kind] of [
    [grpo.schema, "grpo"],
    [rloo.schema, "rloo"],
    [ppo.schema, "ppo"],
  ] as const)
    for (const filter of ["topK", "topP", "minP"])
      expect(schema.safeParse({ kind, ...common, rollout: { [filter]: 2 } }).success, `${kind} ${filter}`).toBe(false);
});

describe("the gradient of the divergence, by enumeration", () => {
  const [pi, reference] = [
    [0.5, 0.3, 0.2],
    [0.2, 0.3, 0.5],
  ];
  test("times the ratio it is that of KL(policy || reference), and without it policy - reference", () => {
    const gradient = (corrected: boolean) => {
      // d/dlogit_j of sum over x of p(x) f(log p(x)) with p(x) held: p(x) f'(log p(x)) (1[x = j] - p(j)).
      const policy = input("policy", [3]);
      const held = input("reference", [3]);
      const value = divergence(policy, held, corrected ? exp(subtract(policy, detach(policy))) : undefined);
      const [slope] = gradients(sum(value), [policy]);
      const values = new Map([
        [policy, Float64Array.from(pi, Math.log)],
        [held, Float64Array.from(reference, Math.log)],
      ]);
      const slopes = interpret([slope!], values)[0]!;
      return pi.map((pj, j) => pi.reduce((total, px, x) => total + px * slopes[x]! * (Number(x === j) - pj), 0));
    };
    for (const [j, wanted] of [0.320702, -0.082466, -0.238236].entries())
      expect(gradient(true)[j]!).toBeCloseTo(wanted, 6);
    for (const [j, wanted] of [0.3, 0, -0.3].entries()) expect(gradient(false)[j]!).toBeCloseTo(wanted, 6);
  });
  test("and its mean is the divergence itself", () => {
    for (const estimator of ["k1", "k3"] as const) {
      const mean = pi.reduce(
        (total, p, x) => total + p * divergences[estimator](Math.log(p), Math.log(reference[x]!)),
        0,
      );
      expect(mean).toBeCloseTo(0.274887, 6);
    }
  });
});

test("ratios are those of tokens, and clip by the sign of what they are worth", () => {
  const [ratio, advantages] = [input("ratio", [3]), input("advantages", [3])];
  const terms = clipped(ratio, advantages, { low: 0.2, high: 0.2 });
  const of = (worth: number) =>
    [
      ...interpret(
        [terms],
        new Map([
          [ratio, Float64Array.of(1.1, 0.9, 1.5)],
          [advantages, new Float64Array(3).fill(worth)],
        ]),
      )[0]!,
    ].map((v) => Number((-v).toFixed(12)));
  expect(of(1)).toEqual([1.1, 0.9, 1.2]);
  expect(of(-1)).toEqual([-1.1, -0.9, -1.5]);
});

describe("whitening", () => {
  const rows = [[1, 2], [4], [-3, 0.5, 2]];
  test("is over all numbers of all answers", () => {
    for (const biased of [true, false]) {
      const all = whitened(rows, { shift: true, biased }).flat();
      const mean = all.reduce((a, b) => a + b, 0) / all.length;
      const variance = all.reduce((a, b) => a + (b - mean) ** 2, 0) / (all.length - (biased ? 0 : 1));
      expect(mean).toBeCloseTo(0, 12);
      expect(variance).toBeCloseTo(1, 7);
    }
  });
  test("may keep the mean", () => {
    const all = whitened(rows, { shift: false, biased: true }).flat();
    expect(all.reduce((a, b) => a + b, 0) / all.length).toBeCloseTo(6.5 / 6, 12);
  });
  test("of one number is 0, and never NaN", () => {
    expect(whitened([[3]], { shift: true, biased: false })).toEqual([[0]]);
  });
});

test("an adaptive coefficient moves by a fifth at most of what a round counts for", () => {
  const by = { target: 6, horizon: 10_000, episodes: 512 };
  expect(adapted(0.15, 600, by)).toBeCloseTo(0.15 * (1 + (0.2 * 512) / 10_000), 12);
  expect(adapted(0.15, 0, by)).toBeCloseTo(0.15 * (1 - (0.2 * 512) / 10_000), 12);
  expect(adapted(0.15, 6.3, by)).toBeCloseTo(0.15 * (1 + (0.05 * 512) / 10_000), 12);
});

describe("a policy that loses its way is noticed", () => {
  const fine = { reward: 0.5, silent: 0.3, divergence: 1 };
  const after = (rounds: number, seen: Parameters<ReturnType<typeof watch>["see"]>[0]) => {
    const watching = watch();
    watching.see(fine);
    return Array.from({ length: rounds }, () => watching.see(seen)).flat();
  };
  test("once, after 20 rounds in a row", () => {
    expect(after(19, { ...fine, reward: 0.2 })).toEqual([]);
    expect(after(40, { ...fine, reward: 0.2 })).toEqual([
      expect.stringContaining("collapse: the reward has been below half"),
    ]);
    expect(after(20, { ...fine, reward: 0.3 })).toEqual([]);
    expect(after(20, { ...fine, silent: 0.95 })).toEqual([
      expect.stringContaining("no learning signal: 95% of the groups"),
    ]);
    expect(after(20, { reward: 0, silent: 1, divergence: null })).toEqual([
      expect.stringContaining("collapse: the reward"),
      expect.stringContaining("collapse: 100% of the groups"),
    ]);
    expect(after(20, { ...fine, divergence: 60 })).toEqual([
      expect.stringContaining("runs away from its reference: 60.0 nats"),
    ]);
    expect(after(20, { ...fine, divergence: 15, target: 2 })).toEqual([expect.stringContaining("runs away")]);
    expect(after(20, { ...fine, divergence: 9, target: 2 })).toEqual([]);
  });
  test("in a run that was interrupted too", () => {
    const [first, second] = [watch(), watch()];
    first.see(fine);
    for (let i = 0; i < 12; i++) first.see({ ...fine, reward: 0.1 });
    second.load(JSON.parse(JSON.stringify(first.save())));
    const said = Array.from({ length: 8 }, () => second.see({ ...fine, reward: 0.1 })).flat();
    expect(said).toHaveLength(1);
  });
});

test("settings that count for nothing, or do not go together, are refused", () => {
  const refused = (kind: "grpo" | "rloo" | "ppo", given: object, said: string) => {
    const schema = { grpo: grpo.schema, rloo: rloo.schema, ppo: ppo.schema }[kind];
    const result = schema.safeParse({ kind, ...common, ...given });
    expect(result.success ? "nothing" : result.error.issues.map(({ message }) => message).join("; ")).toContain(said);
  };
  refused("grpo", { rollout: { samples: 1 } }, "a group of one answer has no other");
  refused("rloo", { rollout: { samples: 1 } }, "a group of one answer has no other");
  refused("grpo", { rollout: { prompts: 10 }, minibatches: 4 }, "4 minibatches do not divide the 10 prompts");
  refused("grpo", { loss: "sapo", epsilon: 0.2 }, "is not used by sapo");
  refused("grpo", { loss: "cispo", epsilon: 0.2 }, "is not used by cispo");
  refused("grpo", { temperatures: {} }, "is not used by dapo");
  refused("grpo", { corrected: true }, "is not used without beta");
  refused("grpo", { reference: "gpt2" }, "is not used without beta");
  refused("grpo", { aggregation: "normalize_then_sum" }, "one reward has no others");
  refused("grpo", { weights: [1, 2] }, "there are 2 for 1 rewards");
  refused("grpo", { rewards: ["exact", "exact"] }, "names a reward twice");
  refused("grpo", { rewards: ["regex:("] }, "is no regular expression");
  refused("grpo", { batch: { tokens: 64 } }, "answers of 64 tokens leave no room");
  refused("rloo", { beta: 0, reference: "gpt2" }, "is not used without beta");
  refused("ppo", { kl: { horizon: 5 } }, "is not used without kl.target");
  refused("ppo", { kl: { coefficient: 0, target: 5 } }, "a coefficient of 0 stays 0");
  refused("ppo", { valueCoefficient: 0, critic: "head" }, "the critic learns nothing");
});
