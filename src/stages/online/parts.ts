/** What every stage is made of that learns from what its policy writes: prompts, policy, writer, rewards, and perhaps a reference. */
import { Scratch } from "../../autograd/scratch";
import type { Slab } from "../../model/slab";
import type { Context } from "../context";
import { openReference } from "../reference";
import { type TrainedModel, trainedParts } from "../trained";
import { type OnlineConfig, promptLength, sizesOf } from "./config";
import { type Asking, readPrompts } from "./prompts";
import { openRewards, type Rewarding } from "./rewarding";
import { type Scorer, type ScorerOptions, tokenLogProbs } from "./scorer";
import { type Shape, shapesFor } from "./shapes";
import { type Writer, writer } from "./writer";

export interface OnlineParts<C extends OnlineConfig = OnlineConfig> extends Disposable {
  readonly config: C;
  readonly context: Context;
  readonly data: Asking;
  readonly trained: TrainedModel;
  readonly writer: Writer;
  readonly rewarding: Rewarding;
  /** Log-probabilities under the reference; null where there is none. */
  readonly reference: Scorer | null;
  /** Read by the reference beside what is trained. */
  readonly frozen: readonly Slab[];
  readonly shapes: readonly Shape[];
  /** What passes over answers have in common, whatever the model. */
  readonly passes: Pick<ScorerOptions, "device" | "rows" | "shapes" | "scratch">;
  /** Tokens of a prompt with its answer at most. */
  readonly length: number;
  readonly fingerprints: Readonly<Record<string, string>>;
}

export interface ReferenceConfig {
  readonly reference?: string | undefined;
}

export async function onlineParts<C extends OnlineConfig & ReferenceConfig>(
  config: C,
  context: Context,
  { held }: { readonly held: boolean },
): Promise<OnlineParts<C>> {
  const { device, console } = context;
  const { name, rollout, stop, lora } = config;
  const { rows } = config.batch;
  const data = await readPrompts(config, context, promptLength(config, context.model.config.context));
  const sizes = sizesOf(config, data);
  const shapes = shapesFor(sizes);
  const length = sizes.longest;
  const scratch = new Scratch(device);
  const passes = { device, rows, shapes, scratch };
  const opened = held ? await openReference({ ...config, precompute: false }, context, { rows, length }) : null;
  const rewarding = await openRewards(config, context, { ...passes, length, prompts: data.train });
  const trained = trainedParts(lora, context);
  const { model, slabs } = trained;
  const { tokenizer, template } = data;
  const writing = writer({ device, model, slabs, tokenizer, template, console, name, rollout, stop });
  const { temperature } = rollout;
  const live = opened?.live;
  const reference = live ? tokenLogProbs({ ...passes, model: live.model, slabs: [live.weights], temperature }) : null;
  return {
    config,
    context,
    data,
    trained,
    writer: writing,
    rewarding,
    reference,
    frozen: opened?.frozen ?? [],
    shapes,
    passes,
    length,
    fingerprints: {
      ...(lora && { "base model": context.weights.fingerprint() }),
      ...(opened && { reference: opened.fingerprint }),
    },
    [Symbol.dispose]() {
      for (const one of [writing, rewarding, reference, opened, scratch, trained]) one?.[Symbol.dispose]();
    },
  };
}
