/** A model with a scalar head that a stage reads: it must read the policy's tokens, and all of an answer; its scores have a gain and a bias. */
import { UserError } from "../../errors";
import { type Normalisation, raw, readNormalisation } from "../../formats/normalisation";
import type { Model } from "../../model/model";
import type { Context } from "../context";
import type { OpenAs, Source } from "../kind";
import { expectSameTokenizer } from "../reference";

export interface ScoringModel extends Source {
  readonly normalisation: Normalisation;
}

export interface Wanted {
  /** What it is opened by, and what it is called. */
  readonly key: string;
  readonly what: string;
  /** Tokens of a prompt with its answer at most. */
  readonly length: number;
  readonly as?: OpenAs;
  /** Throws where it is not what is wanted. */
  expect?(model: Model): void;
}

/** Throws a UserError where it reads other tokens than the policy, or fewer than an answer has. */
export async function openScoring(context: Context, { key, what, length, as, expect }: Wanted): Promise<ScoringModel> {
  const source = await context.open(key, as);
  try {
    const { tokenizer, model } = source;
    expect?.(model);
    expectSameTokenizer(tokenizer, context.tokenizer, what);
    if (model.config.context < length)
      throw new UserError(
        `${what} has a context of ${model.config.context}, and answers with their prompts have up to ${length} tokens`,
        { hint: "use fewer tokens (batch.tokens, rollout.tokens)", exitCode: 2 },
      );
    const directory = await context.locate(key);
    const normalisation = (directory === null ? null : readNormalisation(directory)) ?? raw;
    return { ...source, normalisation, [Symbol.dispose]: () => source[Symbol.dispose]() };
  } catch (error) {
    source[Symbol.dispose]();
    throw error;
  }
}
