/** Answers of an open model to the prompts of a data file, turns or plain text: for rules, for the best of several, for comparisons. */

import { subsetOf } from "../../data/choose";
import { type PromptExample, promptsIn } from "../../data/prompts";
import { reportLines } from "../../data/report";
import type { Rows } from "../../data/row";
import { templateFor } from "../../data/template-for";
import { UserError } from "../../errors";
import { sampling } from "../../generate/sampling";
import { duration, type Reporter, throttled } from "../../log/console";
import { answerReader } from "../../text/answer";
import { ticker } from "../../tick";
import type { Answering } from "./subject";

export interface WriteOptions {
  readonly data: string;
  readonly template: string;
  /** Prompts at most, chosen by seed; 0 for all. */
  readonly limit: number;
  /** Answers that are written together. */
  readonly batch: number;
  readonly maxTokens: number;
  /** 0 for greedy. */
  readonly temperature: number;
  readonly seed: number;
  /** Answers of each prompt. */
  readonly samples: number;
}

export interface Written {
  readonly prompt: PromptExample;
  readonly text: string;
  /** By an end of its own. */
  readonly ended: boolean;
  /** Of the answer alone, its end included. */
  readonly ids: readonly number[];
}

/** By which a part of a file is chosen. */
export const SUBSET_SEED = 1337;

/** Prompt by prompt, the answers of one behind one another. `rows`: of the data file. */
export async function writtenAnswers(
  { engine, tokenizer, model }: Answering,
  rows: Rows,
  { data, template: wanted, limit, batch, maxTokens, temperature, seed, samples }: WriteOptions,
  console: Reporter,
): Promise<Written[]> {
  const template = templateFor(wanted, "messages", tokenizer);
  const { context } = model.config;
  const { prompts, report } = promptsIn(rows, { tokenizer, template, tokens: context - 1, strict: false });
  const lines = reportLines(report, data, "prompts");
  if (lines.length > 1) for (const line of lines) console.note(line);
  if (prompts.length === 0)
    throw new UserError(`${data}: no prompt is left`, { hint: lines.slice(1).join("; ").trim() });
  const chosen = subsetOf(prompts, limit, SUBSET_SEED).flatMap((prompt) =>
    new Array<PromptExample>(samples).fill(prompt),
  );
  const given = chosen.map(({ ids }) => [...ids]);
  const readers = given.map((prompt) => answerReader(tokenizer, template, prompt));
  const written = new Array<Written>(chosen.length);
  const progress = countdown(console, "answer");
  const pause = ticker();
  let done = 0;
  const options = { ...sampling.parse({ temperature, seed, maxTokens }), together: Math.min(batch, given.length) };
  for (const finished of engine.rolloutSteps(given, { ...options, ends: (index, id) => readers[index]!.push(id) })) {
    await pause();
    for (const { index, ids } of finished) {
      const reader = readers[index]!;
      written[index] = { prompt: chosen[index]!, text: reader.text(), ended: reader.ended, ids };
      progress(++done, chosen.length);
    }
  }
  console.done();
  return written;
}

/** `window 12/80  eta 1m05s`. `share`: of the work that is done, where that is not `done` of `total`. */
export function countdown(console: Reporter, what: string): (done: number, total: number, share?: number) => void {
  const start = performance.now();
  return throttled((done, total, share = done / total) => {
    const left = ((performance.now() - start) / 1000) * (1 / share - 1);
    console.status(`${what} ${done}/${total}  eta ${duration(left)}`);
  });
}
