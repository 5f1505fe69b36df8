/** What the configs of stages over preferences refuse: options that count for nothing, and models that are of the wrong kind. */
import { describe, expect, test } from "bun:test";
import { gradients } from "../../src/autograd/gradients";
import { interpret } from "../../src/autograd/interpret";
import { sum } from "../../src/ops";
import * as cpo from "../../src/stages/cpo";
import * as dpo from "../../src/stages/dpo";
import * as kto from "../../src/stages/kto";
import type * as orpo from "../../src/stages/orpo";
import { log1mexp } from "../../src/stages/orpo";
import type * as reward from "../../src/stages/reward";
import { input } from "../../src/tensor/tensor";
import { compare } from "../support/oracle";

const problems = (
  schema: typeof dpo.schema | typeof kto.schema | typeof cpo.schema | typeof orpo.schema | typeof reward.schema,
  given: object,
): string[] => {
  const { error } = schema.safeParse({ data: "x.jsonl", ...given });
  return (error?.issues ?? []).map(({ path, message }) => `${path.join(".")}: ${message}`);
};

describe("an option that the loss does not use is refused", () => {
  test.each<[object, string | null]>([
    [{}, null],
    [{ loss: "mpo" }, null],
    [{ loss: ["sigmoid", "sft"], weights: [1, 0.5] }, null],
    [{ loss: "sigmoid", labelSmoothing: 0.1 }, null],
    [{ loss: "hinge", labelSmoothing: 0.1 }, "labelSmoothing: is not used by hinge"],
    [{ loss: "sft", beta: 0.1 }, "beta: is not used by sft"],
    [{ loss: "ipo", tau: 1 }, "tau: is not used by ipo"],
    [{ loss: "discopop", tau: 1 }, null],
    [{ alpha: 0.5 }, "alpha: is not used by reverse_kl"],
    [{ alpha: 1, divergence: "alpha_divergence" }, "alpha: at 1 it is reverse_kl"],
    [{ alpha: 0.3, divergence: "alpha_divergence" }, null],
    [{ loss: "nca_pair", divergence: "js_divergence" }, "divergence: nca_pair goes with reverse_kl alone"],
    [{ loss: "sft", divergence: "js_divergence" }, "divergence: sft goes with reverse_kl alone"],
    [{ loss: "mpo", divergence: "forward_kl" }, "divergence: bco_pair goes with reverse_kl alone"],
    [{ loss: "exo_pair" }, "labelSmoothing: exo_pair needs one above 0"],
    [{ loss: "exo_pair", labelSmoothing: 0.001 }, null],
    [{ loss: "robust", labelSmoothing: 0.5 }, "labelSmoothing: "],
    [{ loss: "sigmoid", weights: [1] }, "weights: sigmoid has none to be given"],
    [{ loss: ["sigmoid", "sft"], weights: [1] }, "weights: there are 1 for 2 losses"],
    [{ loss: ["sft", "sft"] }, "loss: names a loss twice"],
    [{ loss: "aot", wpo: true }, "wpo: "],
    [{ sync: {} }, "sync: a reference that moves cannot be computed before"],
    [{ sync: {}, precompute: false }, null],
    [{ sync: {}, precompute: false, lora: {} }, "sync: with lora the reference is the base"],
    [{ loss: "sft", reference: "gpt2" }, "reference: sft is held to no reference"],
    [{ lora: { dropout: 0.1 } }, "lora.dropout: "],
    [{ dropout: 0.1 }, ": "],
  ])("dpo %o", (given, wanted) => {
    const found = problems(dpo.schema, { kind: "dpo", ...given });
    if (wanted === null) expect(found).toEqual([]);
    else expect(found.join("\n")).toContain(wanted);
  });
  test.each<[object, string | null]>([
    [{}, null],
    [{ batch: { rows: 1 } }, "batch.rows: a step of one answer"],
    [{ batch: { rows: 1, accumulate: 2 } }, null],
    [{ desirable: 0, undesirable: 0 }, "desirable: with undesirable 0 too nothing is learned"],
    [{ batch: { rows: 1 }, loss: "apo_zero_unpaired" }, null],
  ])("kto %o", (given, wanted) => {
    const found = problems(kto.schema, { kind: "kto", ...given });
    if (wanted === null) expect(found).toEqual([]);
    else expect(found.join("\n")).toContain(wanted);
  });
  test.each<[object, string | null]>([
    [{}, null],
    [{ loss: "simpo", gamma: 1 }, null],
    [{ gamma: 1 }, "gamma: is not used by sigmoid"],
    [{ loss: "hinge", labelSmoothing: 0.1 }, "labelSmoothing: is not used by hinge"],
  ])("cpo %o", (given, wanted) => {
    const found = problems(cpo.schema, { kind: "cpo", ...given });
    if (wanted === null) expect(found).toEqual([]);
    else expect(found.join("\n")).toContain(wanted);
  });
});

test("what a loss begins with is its formula's value where policy and reference are one", () => {
  const of = (given: object) => dpo.expectedLoss(dpo.schema.parse({ kind: "dpo", data: "x", ...given }));
  expect(of({})).toBeCloseTo(Math.LN2, 12);
  expect(of({ loss: "ipo", beta: 0.5 })).toBeCloseTo(1, 12);
  expect(of({ loss: "exo_pair", labelSmoothing: 1e-3 })).toBeCloseTo(2.761231, 6);
  expect(of({ loss: ["sigmoid", "hinge"], weights: [0.5, 2] })).toBeCloseTo(0.5 * Math.LN2 + 2, 12);
  expect(of({ loss: "mpo" })).toBeNull();
  expect(of({ wpo: true })).toBeNull();
});

test("log(1 - e^x) is right near 0 and far from it, with its slope", () => {
  const values = [-1e-6, -1e-4, -1e-3, -0.03, -0.0999, -0.1001, -0.5, -0.7, -1, -5, -30, -80];
  const x = input("x", [values.length]);
  const y = log1mexp(x);
  const [slope] = gradients(sum(y), [x]);
  const [found, slopes] = interpret([y, slope!], new Map([[x, Float64Array.from(values)]]));
  for (const [i, v] of values.entries()) {
    const wanted = Math.log(-Math.expm1(v));
    expect(Math.abs(found![i]! - wanted)).toBeLessThan(2e-7 * Math.max(1, Math.abs(wanted)));
    const steep = -Math.exp(v) / -Math.expm1(v);
    expect(Math.abs(slopes![i]! - steep)).toBeLessThan(3e-6 * Math.max(1, Math.abs(steep)));
  }
  compare([y, slope!], new Map([[x, Float64Array.from(values)]]), 1e-5);
  // A token that is certain does not make it infinite.
  expect(Number.isFinite(interpret([y], new Map([[x, new Float64Array(values.length)]]))[0]![0]!)).toBe(true);
});
