/** The reference that a policy is held to: another model, or the one that it was at first. Its numbers are computed once, or with each step. */
import { z } from "zod";
import { UserError } from "../errors";
import type { Weighted } from "../eval/completions";
import { fitted, type Model, modelOf } from "../model/model";
import { Slab } from "../model/slab";
import type { Tokenizer } from "../text/tokenizer";
import type { Context } from "./context";
import { referenceLogProbs } from "./kept-reference";

export const reference = {
  reference: z.string().min(1).optional().meta({
    description:
      "the model that the policy is held to: a stage, a run, a directory, a Hub name; what it starts from if absent",
    neutral: true,
  }),
  precompute: z.boolean().default(true).meta({
    description: "computes the reference's log-probabilities once and keeps them on disk; else with every step",
  }),
};

export interface Reference extends Disposable {
  /** Read with every step, where nothing was computed before. */
  readonly live: { readonly model: Model; readonly weights: Slab } | null;
  /** Slabs that are read beside those of what is trained. */
  readonly frozen: readonly Slab[];
  readonly fingerprint: string;
  /** Of each completion the sum over its tokens. Only where it is not live. */
  logProbs(asked: readonly Weighted[]): Promise<Float32Array>;
}

export interface ReferenceConfig {
  readonly name: string;
  readonly reference?: string | undefined;
  readonly precompute: boolean;
  readonly lora?: unknown;
}

export async function openReference(
  { name, reference: other, precompute, lora }: ReferenceConfig,
  context: Context,
  { rows, length }: { readonly rows: number; readonly length: number },
): Promise<Reference> {
  const { device, console } = context;
  const source = other === undefined ? null : await context.open("reference");
  if (source) expectSameTokenizer(source.tokenizer, context.tokenizer, `the reference ${other}`);
  const { model, weights } = source ?? context;
  if (model.config.context < length)
    throw new UserError(
      `the reference ${other} has a context of ${model.config.context}, and rows have ${length} tokens`,
      {
        hint: "use fewer tokens a row (batch.tokens)",
        exitCode: 2,
      },
    );
  const fingerprint = weights.fingerprint();
  // What is trained whole is no longer the reference after the first step.
  const copied = !precompute && !source && !lora ? copyOf(context) : null;
  const live = precompute ? null : (copied ?? { model, weights });
  const own = copied?.weights ?? source?.weights;
  return {
    live,
    frozen: live && own ? [own] : [],
    fingerprint,
    async logProbs(asked) {
      const scoring = { device, model, slabs: [weights], rows, length };
      const { values, kept } = await referenceLogProbs({ ...scoring, weights, console, name }, asked);
      if (kept > 0)
        console.note(`${name}: ${kept} of ${asked.length} log-probabilities of the reference were known from disk`);
      return values;
    },
    [Symbol.dispose]() {
      source?.[Symbol.dispose]();
      copied?.weights[Symbol.dispose]();
    },
  };
}

/** The same weights in a slab of their own. */
function copyOf({ device, model, weights }: Pick<Context, "device" | "model" | "weights">) {
  const copy = fitted(modelOf(model.config), device);
  return { model: copy, weights: new Slab(device, copy.parameters, { values: weights.download() }) };
}

/** Ids mean the same to both; `what` it is that is read beside the policy. */
export function expectSameTokenizer(other: Tokenizer, policy: Tokenizer, what: string): void {
  if (Bun.deepEquals(other.files.tokenizer, policy.files.tokenizer)) return;
  throw new UserError(`${what} has another tokenizer than the policy: ${other.size} tokens, and ${policy.size}`, {
    hint: "it must read the same tokens: take one that comes from the same model as the policy",
    exitCode: 2,
  });
}
