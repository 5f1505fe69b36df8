/** A few answers of a round as a table for people, and the same in samples.jsonl. */
import { appendFileSync } from "node:fs";
import { join } from "node:path";
import type { PromptExample } from "../../data/prompts";
import { keepUpTo } from "../../log/metrics";
import { meanOf } from "./advantages";
import type { Answer } from "./answers";

/** Characters of a prompt, and of an answer, that a line shows. */
const SHOWN = 60;

export interface Table {
  /** Appends them. `step` counts finished steps. Lines past it, of a run that was cut off, are dropped: those steps come again. */
  write(step: number, answers: readonly Answer[]): void;
  /** A line each, for people. */
  lines(answers: readonly Answer[]): string[];
}

/** `names`: of the rewards. */
export interface TableOf {
  readonly prompts: readonly PromptExample[];
  readonly names: readonly string[];
}

export function table(directory: string, { prompts, names }: TableOf): Table {
  const path = join(directory, "samples.jsonl");
  let kept = false;
  return {
    write(step, answers) {
      if (!kept) keepUpTo(path, step - 1);
      kept = true;
      appendFileSync(path, answers.map((answer) => `${JSON.stringify({ step, ...rowOf(answer) })}\n`).join(""));
    },
    lines: (answers) =>
      answers.map(rowOf).map(({ prompt, completion, ended, rewards, advantage, kl }) => {
        const told = Object.entries(rewards).map(
          ([name, value]) => `${name} ${value === null ? "-" : value.toFixed(2)}`,
        );
        return `  | ${cut(prompt)} -> ${cut(completion)}${ended ? "" : " ..."}  (${told.join(", ")}; advantage ${advantage.toFixed(2)}${kl === null ? "" : `; kl ${kl.toFixed(2)}`})`;
      }),
  };

  function rowOf(answer: Answer) {
    const { advantages, old, reference } = answer.tokens;
    return {
      prompt: prompts[answer.prompt]!.messages.at(-1)?.content ?? "",
      completion: answer.text,
      ended: answer.ended,
      rewards: Object.fromEntries(names.map((name, k) => [name, answer.rewards[k] ?? null])),
      advantage: advantages ? meanOf([...advantages]) : 0,
      // Of the whole answer, as it was drawn.
      kl: old && reference ? old.reduce((sum, logProb, t) => sum + logProb - reference[t]!, 0) : null,
    };
  }
}

function cut(text: string): string {
  const line = text.trim().replaceAll(/\s+/g, " ");
  return line.length > SHOWN ? `${line.slice(0, SHOWN)}...` : line;
}
