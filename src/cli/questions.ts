/** What the commands share that ask a model questions and measure its answers. */
import type { OpenModel } from "../app/model";
import { UserError } from "../errors";
import { asked } from "../stages/evals/entries";
import { flagsOf } from "./flags";

/** `batch`: answers that run together, where the command has a default of its own. */
export function questionFlags(own: { readonly batch?: number } = {}) {
  return flagsOf(asked, { template: "template", limit: "limit", batch: "batch", "max-tokens": "maxTokens" }, own);
}

type Flags = ReturnType<typeof questionFlags>;

/** What a model is asked, and how much it may say. */
export function questionsOf(
  flags: Flags,
  args: { readonly data: string },
  rawArgs: readonly string[],
  { model }: Pick<OpenModel, "model">,
) {
  const given = flags.parse({ ...args }, rawArgs);
  const { context } = model.config;
  if (given.maxTokens > context)
    throw new UserError(`--max-tokens is ${given.maxTokens}, expected a whole number from 1 to ${context}`, {
      exitCode: 2,
    });
  return { ...given, data: args.data };
}

export async function writeAnswers(path: string | undefined, answers: readonly object[]): Promise<void> {
  if (path !== undefined) await Bun.write(path, answers.map((answer) => `${JSON.stringify(answer)}\n`).join(""));
}
