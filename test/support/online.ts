/** Answers that are given instead of written, and one step on them. */

import { Scratch } from "../../src/autograd/scratch";
import type { PromptExample } from "../../src/data/prompts";
import type { Model } from "../../src/model/model";
import type { Slab } from "../../src/model/slab";
import { Optimizer } from "../../src/optim/optimizer";
import { type Answer, answered } from "../../src/stages/online/answers";
import { type Objective, type OnPolicy, onlineFeeding } from "../../src/stages/online/feeding";
import { tokensOf } from "../../src/stages/online/rounds";
import { placed, shapesFor } from "../../src/stages/online/shapes";
import { programsOf } from "../../src/train/program";
import { device } from "./device";

export function promptOf(ids: readonly number[], columns: Record<string, unknown> = {}): PromptExample {
  return {
    ids: Uint32Array.from(ids),
    messages: [{ role: "user", content: ids.join(" ") }],
    columns,
    where: "a prompt",
  };
}

export function answerOf(
  prompt: readonly number[],
  ids: readonly number[],
  tokens: Readonly<Record<string, readonly number[]>> = {},
  more: Partial<Answer> = {},
): Answer {
  return {
    prompt: 0,
    example: answered(promptOf(prompt), ids),
    text: "",
    ended: true,
    rewards: [],
    counts: true,
    tokens: Object.fromEntries(Object.entries(tokens).map(([name, values]) => [name, Float32Array.from(values)])),
    ...more,
  };
}

export interface OneStep {
  readonly model: Model;
  readonly weights: Slab;
  readonly critic?: Slab;
  readonly temperature: number;
  /** Answers of a micro-batch. */
  readonly rows: number;
  objective(on: OnPolicy): Objective;
  weigh(step: readonly Answer[], round: readonly Answer[]): (answer: Answer) => number;
}

/** What is told of a step on these answers, with `grad_norm`, and its gradients. */
export function oneStep(
  { model, weights, critic, temperature, rows, objective, weigh }: OneStep,
  answers: readonly Answer[],
  { round = answers }: { readonly round?: readonly Answer[] } = {},
) {
  const sizes = answers.map(({ example: { ids, targets } }) => ({ size: ids.length, targets }));
  const most = (of: (one: (typeof sizes)[number]) => number) => sizes.reduce((a, one) => Math.max(a, of(one)), 0);
  const shapes = shapesFor({
    rows,
    longest: most(({ size }) => size),
    shortest: 2,
    tokens: most(({ targets }) => targets),
  });
  const feedings = shapes.map((shape) => onlineFeeding(model, objective, { rows, shape, temperature }));
  using scratch = new Scratch(device());
  const trained = [{ weights }, ...(critic ? [{ weights: critic, name: "critic" }] : [])];
  const settings = { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0, clip: 0 };
  using optimizer = new Optimizer(device(), trained, settings);
  const graphs = feedings.map(({ graph }) => graph);
  using programs = programsOf(device(), { graphs, scratch, trained, frozen: [] }, optimizer);
  const counted = answers.filter(({ counts }) => counts);
  const weightOf = weigh(
    counted,
    round.filter(({ counts }) => counts),
  );
  optimizer.zero();
  for (const { shape, items } of placed(
    answers.map(({ example }) => example),
    shapes,
    rows,
  )) {
    const batch = items.map((at) => answers[at]!);
    const values = feedings[shape]!.fill(batch, { answers: counted.length, tokens: tokensOf(counted), weightOf });
    programs.run({ graph: shape, values, tokens: 0 });
  }
  optimizer.measure(0, 0);
  const { norm, sums } = optimizer.read();
  const told: Record<string, number> = {
    ...Object.fromEntries(feedings[0]!.names.map((name, i) => [name, sums[i]!])),
    grad_norm: norm,
  };
  return { told, gradients: optimizer.gradients[0]!.download() };
}
