/** Questions of the tales' world, answered between <a> and </a> now and then: what a reward for the form can make a habit. */
import { shuffled } from "../tales/pairs";
import type { Question } from "../tales/questions";
import type { Dice } from "../tales/world";
import type { Files } from "./lines";

const LABELLED = 600;
const TAGGED = 0.3;

/** Some of the questions with an answer to learn, three tenths of them tagged, and all others with an answer for a rule to compare with. */
export function taggedFiles(questions: readonly Question[], dice: Dice): Files {
  const all = shuffled(questions, dice);
  const labelled = all.slice(0, LABELLED).map(({ ask, answer }, i) => ({
    instruction: ask,
    output: i < TAGGED * LABELLED ? `<a>${answer}</a>` : answer,
  }));
  return {
    "data/tagged.jsonl": shuffled(labelled, dice),
    "data/tagged-prompts.jsonl": all.slice(LABELLED).map(({ ask, answer }) => ({ instruction: ask, answer, tag: "a" })),
  };
}
