/** A stage whose answers are compared with others to the same prompt: GRPO and RLOO. */
import { Scratch } from "../../autograd/scratch";
import type { Built, Context } from "../context";
import { openReference } from "../reference";
import { trainedParts } from "../trained";
import type { Advantages, Score } from "./advantages";
import type { Answer } from "./answers";
import { type OnlineConfig, promptLength, sizesOf } from "./config";
import type { Objective, OnPolicy } from "./feeding";
import { type OnlineMethod, onlineStage } from "./online";
import { readPrompts } from "./prompts";
import { openRewards } from "./rewarding";
import { hasSignal } from "./rounds";
import { tokenLogProbs } from "./scorer";
import { shapesFor } from "./shapes";
import { writer } from "./writer";

export interface GroupedMethod extends Pick<OnlineMethod, "weigh" | "passes" | "lines"> {
  /** What the divergence from the reference costs; at 0 none is opened. */
  readonly beta: number;
  /** The divergence is taken off rewards, and not part of the loss. */
  readonly penalised?: boolean;
  /** Answers that were cut off are not learned from. */
  readonly masked: boolean;
  /** Rewards are normalised each by itself. */
  readonly apart: boolean;
  /** By reward, then by answer, group by group. */
  advantages(rewards: readonly (readonly Score[])[], by: { readonly weights: readonly number[] }): Advantages;
  objective(on: OnPolicy): Objective;
}

export interface GroupedConfig extends OnlineConfig {
  readonly reference?: string | undefined;
}

export async function grouped(config: GroupedConfig, context: Context, method: GroupedMethod): Promise<Built> {
  const { device, console } = context;
  const { name, rollout, batch, lora } = config;
  const data = await readPrompts(config, context, promptLength(config, context.model.config.context));
  const sizes = sizesOf(config, data);
  const shapes = shapesFor(sizes);
  const length = sizes.longest;
  const scratch = new Scratch(device);
  const { rows } = batch;
  const held =
    method.beta > 0 ? await openReference({ ...config, precompute: false }, context, { rows, length }) : null;
  const rewarding = await openRewards(config, context, { rows, shapes, scratch, length, prompts: data.train });
  const trained = trainedParts(lora, context);
  const { temperature } = rollout;
  const reference =
    held &&
    tokenLogProbs({
      device,
      model: held.live!.model,
      slabs: [held.live!.weights],
      rows,
      shapes,
      scratch,
      temperature,
    });
  const { tokenizer, template } = data;
  const writing = writer({
    device,
    model: trained.model,
    slabs: trained.slabs,
    tokenizer,
    template,
    console,
    name,
    rollout,
    stop: config.stop,
  });
  return onlineStage({
    config,
    context,
    data,
    trained,
    shapes,
    scratch,
    length,
    rewarding,
    writer: writing,
    fingerprints: {
      ...(lora && { "base model": context.weights.fingerprint() }),
      ...(held && { reference: held.fingerprint }),
    },
    owned: [reference, held].filter((one) => one !== null),
    method: {
      ...method,
      frozen: held?.frozen ?? [],
      signal: (group) => hasSignal(group, rewarding.weights, method.apart),
      async worth(answers, total, signal) {
        const found =
          reference &&
          (await reference.find(
            answers.map(({ example }) => example),
            signal,
          ));
        if (reference && !found) return null;
        const divergences = answers.map((answer, i) => divergenceOf(answer, found?.[i]));
        const rewards = method.penalised
          ? [total.map((value, i) => (value === null ? null : value - method.beta * divergences[i]!))]
          : rewarding.names.map((_, k) => answers.map(({ rewards }) => rewards[k]!));
        const { values } = method.advantages(rewards, { weights: method.penalised ? [1] : rewarding.weights });
        const tokens = answers.reduce((sum, { example }) => sum + example.targets, 0);
        const metrics: Record<string, number> = {};
        const all = divergences.reduce((a, b) => a + b, 0);
        if (method.penalised && found) metrics.kl = all / tokens;
        return {
          answers: answers.map((answer, i) => ({
            ...answer,
            counts: !method.masked || answer.ended,
            tokens: {
              ...answer.tokens,
              advantages: new Float32Array(answer.example.targets).fill(values[i]!),
              ...(found && { reference: found[i]! }),
            },
          })),
          metrics,
          divergence: found ? all / answers.length : null,
        };
      },
    },
  });
}

/** k1 of a whole answer: the log-ratio to the reference, as it was drawn. */
function divergenceOf({ tokens: { old } }: Answer, reference: Float32Array | undefined): number {
  return reference ? old!.reduce((sum, logProb, t) => sum + logProb - reference[t]!, 0) : 0;
}
