/** Addition of two numbers of two digits, the digits of the answer reversed, so that the carry is known when a digit is written. */
import { shuffled } from "../tales/pairs";
import type { Dice } from "../tales/world";
import type { Files } from "./lines";

const numbers = Array.from({ length: 100 }, (_, i) => i);
const twoDigits = (number: number) => String(number).padStart(2, "0");

interface Sum {
  readonly prompt: string;
  readonly answer: string;
}

const sums: readonly Sum[] = numbers.flatMap((a) =>
  numbers.map((b) => ({
    prompt: `${twoDigits(a)}+${twoDigits(b)}=`,
    answer: [...String(a + b)].reverse().join(""),
  })),
);

const LABELLED = 300;
const TEST = 500;

/** All ten thousand: few with an answer to learn, some to measure by, the rest with an answer to compare with. */
export function sumFiles(dice: Dice): Files {
  const all = shuffled(sums, dice);
  const labelled = ({ prompt, answer }: Sum) => ({ prompt, completion: answer });
  return {
    "data/sums.jsonl": all.slice(0, LABELLED).map(labelled),
    "data/sums-test.jsonl": all.slice(LABELLED, LABELLED + TEST).map(labelled),
    "data/sums-prompts.jsonl": all.slice(LABELLED + TEST),
  };
}
