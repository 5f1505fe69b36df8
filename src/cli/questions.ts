/** What the commands share that ask a model questions and measure its answers. */
import { z } from "zod";
import type { OpenModel } from "../app/model";
import { records } from "../stages/examples";
import { flagsOf } from "./flags";
import { whole } from "./options";

export const recordFlags = flagsOf(z.object({ template: records.template }), { template: "template" });

interface QuestionArgs {
  readonly data: string;
  readonly template?: string;
  readonly limit: string;
  readonly batch: string;
  readonly "max-tokens": string;
}

/** What a model is asked, and how much it may say. */
export function questionsOf(args: QuestionArgs, rawArgs: readonly string[], { model }: Pick<OpenModel, "model">) {
  return {
    data: args.data,
    template: recordFlags.parse({ ...args }, rawArgs).template,
    limit: whole("limit", args.limit, { least: 0 }),
    batch: whole("batch", args.batch, { most: 4096 }),
    maxTokens: whole("max-tokens", args["max-tokens"], { most: model.config.context }),
  };
}

export async function writeAnswers(path: string | undefined, answers: readonly object[]): Promise<void> {
  if (path !== undefined) await Bun.write(path, answers.map((answer) => `${JSON.stringify(answer)}\n`).join(""));
}
