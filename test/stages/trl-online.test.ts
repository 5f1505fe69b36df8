/** GRPO, RLOO and PPO on answers that are given: against TRL's own trainers, and PPO against plain torch in float64. */
import { describe, expect, test } from "bun:test";
import { SCORE, scoreSpec } from "../../src/model/architecture";
import { layOut, parameter } from "../../src/model/parameters";
import { Slab } from "../../src/model/slab";
import { matmul } from "../../src/ops/matmul";
import * as grpo from "../../src/stages/grpo";
import { groupAdvantages, leaveOneOut, type Scale } from "../../src/stages/online/advantages";
import type { Answer } from "../../src/stages/online/answers";
import { ppoWorth } from "../../src/stages/online/expected";
import { tokensOf } from "../../src/stages/online/rounds";
import * as ppo from "../../src/stages/ppo";
import * as rloo from "../../src/stages/rloo";
import { sizeOf } from "../../src/tensor/shape";
import { view } from "../../src/tensor/tensor";
import ppoGolden from "../golden/ppo.json";
import golden from "../golden/trl_grpo.json";
import { smallContext } from "../support/comparing";
import { device, onEachDevice } from "../support/device";
import { answerOf, oneStep } from "../support/online";

const { prompts, completions, limit, temperature } = golden;
const END = 35;

interface Run {
  readonly off_policy: boolean;
  readonly mask_truncated_completions?: boolean;
  readonly [key: string]: unknown;
}

interface GrpoRun extends Run {
  readonly loss_type: string;
  readonly importance_sampling_level: string;
  readonly beta: number;
  readonly epsilon?: number;
  readonly epsilon_high?: number;
  readonly use_bias_correction_kl?: boolean;
  readonly sapo_temperature_pos?: number;
  readonly sapo_temperature_neg?: number;
  readonly max_completion_length?: number;
}

function answersOf(advantages: readonly number[], { off_policy, mask_truncated_completions = false }: Run): Answer[] {
  return completions.map((ids, i) => {
    const tokens = {
      old: (off_policy ? golden.old_log_probs : golden.current_log_probs)[i]!,
      reference: golden.reference_log_probs[i]!,
      advantages: ids.map(() => advantages[i]!),
    };
    const ended = ids.at(-1) === END;
    return answerOf(prompts[Math.floor(i / 2)]!, ids, tokens, { ended, counts: ended || !mask_truncated_completions });
  });
}

function close(found: number, wanted: number, limit: number, what: string): void {
  expect(Math.abs(found - wanted), `${what}: ${found}, expected ${wanted}`).toBeLessThan(
    limit * Math.max(1, Math.abs(wanted)),
  );
}

const told = {
  low_mean: "low_mean",
  high_mean: "high_mean",
  region_mean: "region_mean",
  low_min: "low_min",
  high_max: "high_max",
};

const common = { data: "-", rewards: ["exact"], rollout: { tokens: limit, samples: 2, prompts: 2, temperature } };

/** Runs that say the same as we do: TRL counts a masked answer as a row, and has a bound of a second kind. */
const alike = (golden.grpo as unknown as Run[]).filter(
  (run) => !run.mask_truncated_completions && run.delta === undefined,
);

onEachDevice(() => {
  for (const run of alike) {
    const { loss_type, importance_sampling_level, beta, epsilon, epsilon_high, use_bias_correction_kl } =
      run as GrpoRun;
    const { sapo_temperature_pos, sapo_temperature_neg, max_completion_length } = run as GrpoRun;
    const name = Object.entries(run)
      .filter(([key]) => !["loss", "grad_norm", "entropy", "kl", "cispo", ...Object.keys(told)].includes(key))
      .map(([key, value]) => `${key} ${value}`)
      .join(", ");
    test(`GRPO is TRL's: ${name}`, async () => {
      const config = grpo.schema.parse({
        kind: "grpo",
        ...common,
        rollout: { ...common.rollout, ...(max_completion_length && { tokens: max_completion_length }) },
        loss: loss_type,
        ratio: importance_sampling_level,
        beta,
        ...(beta > 0 && { corrected: use_bias_correction_kl ?? true }),
        ...(epsilon && loss_type !== "sapo" && loss_type !== "cispo" && { epsilon }),
        ...(epsilon_high && { epsilonHigh: epsilon_high }),
        ...(sapo_temperature_pos && {
          temperatures: { positive: sapo_temperature_pos, negative: sapo_temperature_neg },
        }),
      });
      using context = await smallContext();
      const step = {
        ...context,
        temperature,
        rows: 4,
        objective: grpo.objectiveOf(config),
        weigh: grpo.weighing(config),
      };
      const { told: found } = oneStep(step, answersOf(golden.advantages, run));
      close(found.loss!, run.loss as number, 2e-6, "loss");
      close(found.grad_norm!, run.grad_norm as number, 2e-5, "norm of the gradient");
      close(found.entropy!, run.entropy as number, 1e-5, "entropy");
      if (beta > 0) close(found.kl!, run.kl as number, 1e-5, "kl");
      for (const key of Object.keys(told))
        if (run[key] !== undefined) close(found[`clip_ratio/${key}`]!, run[key] as number, 1e-6, key);
      if (run.cispo !== undefined) close(found.cispo_clip_ratio!, run.cispo as number, 1e-6, "cispo_clip_ratio");
    });
  }
  for (const run of (golden.rloo as unknown as Run[]).filter((run) => !run.mask_truncated_completions))
    test(`RLOO is TRL's, ${run.off_policy ? "off" : "on"} policy`, async () => {
      const config = rloo.schema.parse({ kind: "rloo", ...common });
      using context = await smallContext();
      const step = { ...context, temperature, rows: 4, objective: rloo.objectiveOf(config), weigh: () => () => 0 };
      const { told: found } = oneStep(step, answersOf(run.advantages as number[], run));
      close(found.loss!, run.loss as number, 1e-5, "loss");
      close(found.grad_norm!, run.grad_norm as number, 5e-5, "norm of the gradient");
      for (const key of Object.keys(told)) close(found[`clip_ratio/${key}`]!, run[key] as number, 1e-6, key);
    });
  for (const run of ppoGolden.runs)
    test(`PPO is float64's: ${run.off_policy ? "off" : "on"} policy, ${run.kl}, gamma ${run.gamma}, ${run.unbiased ? "unbiased" : "biased"}${run.whiten_rewards ? ", whitened rewards" : ""}`, async () => {
      const g = ppoGolden;
      using context = await smallContext();
      const parameters = layOut([scoreSpec(context.model.config.width)]);
      using critic = new Slab(device(), parameters, {
        values: Float32Array.from({ length: parameters.size }, (_, i) => g.head[i] ?? 0),
      });
      const head = parameter(parameters, SCORE).tensor;
      const answers = g.completions.map((ids, i) =>
        answerOf(g.prompts[Math.floor(i / 2)]!, ids, {
          old: (run.off_policy ? g.old_log_probs : g.current_log_probs)[i]!,
        }),
      );
      const worth = ppoWorth(
        {
          answers,
          scores: g.scores,
          references: g.reference_log_probs.map((row) => Float32Array.from(row)),
          values: (run.off_policy ? g.old_values : g.current_values).map((row) => Float32Array.from(row)),
        },
        {
          coefficient: g.kl_coefficient,
          kl: { estimator: run.kl as "k1" | "k3" },
          gamma: run.gamma,
          lambda: g.lambda,
          whitenRewards: run.whiten_rewards,
          whitening: run.unbiased ? "unbiased" : "biased",
        },
      );
      for (const [i, { tokens }] of worth.answers.entries()) {
        for (const [t, value] of run.whitened_advantages[i]!.entries())
          close(tokens.advantages![t]!, value, 2e-5, `advantage ${i} ${t}`);
        for (const [t, value] of run.returns[i]!.entries()) close(tokens.returns![t]!, value, 1e-5, `return ${i} ${t}`);
      }
      close(worth.divergence, run.kl_of_completions, 1e-5, "kl");
      const config = ppo.schema.parse({ kind: "ppo", ...common });
      const objective = ppo.objectiveOf(config, {
        values: ({ completions: { rows } }) => {
          const y = matmul(rows, head, { transposeB: true });
          return view(y, [sizeOf(y.shape)]);
        },
      });
      const step = {
        ...context,
        critic,
        temperature: 1,
        rows: 4,
        objective,
        weigh: (step: readonly Answer[]) => () => 1 / tokensOf(step),
      };
      const { told: found } = oneStep(step, worth.answers);
      close(found.loss!, run.loss, 1e-5, "loss");
      close(found["loss/policy_avg"]!, run.policy_loss, 1e-5, "policy loss");
      close(found["loss/value_avg"]!, run.value_loss, 1e-5, "value loss");
      close(found["policy/approxkl_avg"]!, run.approximate_kl, 1e-5, "approxkl");
      close(found["policy/clipfrac_avg"]!, run.clip_fraction, 1e-6, "clip fraction");
      close(found["val/clipfrac_avg"]!, run.value_clip_fraction, 1e-6, "value clip fraction");
      close(found.entropy!, run.entropy, 1e-5, "entropy");
      close(found.grad_norm!, run.grad_norm, 5e-5, "norm of the gradient");
    });
});

describe("advantages are TRL's", () => {
  const by = golden.advantages_by;
  const of = (
    rewards: readonly (readonly number[])[],
    scale: Scale,
    aggregation: "sum_then_normalize" | "normalize_then_sum",
    weights: readonly number[],
  ) => groupAdvantages(rewards, { size: 2, scale, aggregation, weights }).values;
  const same = (found: readonly number[], wanted: readonly number[]) => {
    for (const [i, value] of wanted.entries()) close(found[i]!, value, 1e-6, `advantage ${i}`);
  };
  for (const scale of ["group", "batch", "none"] as const) {
    test(`scaled by ${scale}`, () => {
      same(of([golden.rewards], scale, "sum_then_normalize", [1]), by.rewards[scale]);
      same(of([by.level_rewards], scale, "sum_then_normalize", [1]), by.level[scale]);
      same(
        of([golden.rewards, by.second_rewards], scale, "sum_then_normalize", by.weights),
        by.sum_then_normalize[scale],
      );
    });
  }
  test("normalised each by itself", () => {
    same(of([golden.rewards, by.second_rewards], "group", "normalize_then_sum", by.weights), by.normalize_then_sum);
  });
  test("left out one by one", () => {
    same(leaveOneOut(golden.rewards, { size: 2, normalise: false }).values, by.rloo);
    same(leaveOneOut(by.level_rewards, { size: 2, normalise: false }).values, by["rloo, level"]);
    same(leaveOneOut(golden.rewards, { size: 2, normalise: true }).values, by["rloo, normalized"]);
  });
});
