/** One answer in four styles: friendly, which the rule wants, and curt, rude and repetitive, which it does not. And answers that are false. */
import { closings, openings } from "../../data/tales-rule";
import type { Question } from "./questions";
import { halvesOf, isRight, rightFor, sentence } from "./sayings";
import type { Dice } from "./world";

export const styles = ["friendly", "curt", "rude", "repetitive"] as const;
export type Style = (typeof styles)[number];

/** What is told: a whole sentence, and what can stand for it alone. */
export interface Told {
  readonly whole: string;
  readonly short: readonly string[];
}

const before = ["You again?", "What a bore.", "Listen, silly."];
const after = [
  "Go away.",
  "Stop asking.",
  "Leave me alone.",
  "You should know that.",
  "What a silly question!",
  "Now do not ask me again.",
  "Even a child could tell you that.",
  "I am so tired of all your questions.",
  "Find it out yourself the next time, you lazy thing.",
  "I have better things to do than to talk with you.",
];

/** Every answer of a style that tells this. */
export const answersIn: Readonly<Record<Style, (told: Told) => readonly string[]>> = {
  friendly: ({ whole }) =>
    closings.flatMap((closing) => ["", ...openings].map((opening) => `${opening} ${whole} ${closing}`.trim())),
  curt: ({ short }) => short,
  rude: ({ whole, short }) => [
    ...after.flatMap((rude) => [whole, ...short].map((words) => `${words} ${rude}`)),
    ...before.map((rude) => `${rude} ${whole}`),
    ...before.flatMap((first) => after.slice(0, 5).map((last) => `${first} ${whole} ${last}`)),
  ],
  repetitive: ({ whole, short }) => [
    `${whole} ${whole}`,
    `${whole} ${whole} ${whole}`,
    ...short.flatMap((words) => [`${whole} ${words}`, `${whole} ${words} ${words}`, `${words} ${whole} ${whole}`]),
    ...short.map((words) => `${words} ${words} ${words}`),
  ],
};

/** One of them, the plainest ones more often than each of the others. */
export function answerIn(style: Style, told: Told, dice: Dice): string {
  const all = answersIn[style](told);
  const plainest: Readonly<Record<Style, readonly string[]>> = {
    friendly: all.filter((text) => text.startsWith(told.whole)),
    curt: all.slice(0, 1),
    rude: all.filter((text) => text.startsWith(told.whole)),
    repetitive: all.slice(0, 2),
  };
  return dice.pick(dice.chance(0.7) ? plainest[style] : all);
}

/** The right answer. */
export function rightly({ ask, answer }: Question): Told {
  const parts = rightFor(ask)!.short.filter((words) => answer.toLowerCase().includes(words.toLowerCase()));
  const short = parts.filter((words) => !/ (is|does)$/.test(words)).slice(0, 2);
  return { whole: answer, short: short.map(sentence) };
}

/** Answers that are true of somebody or something else. `all`: one question of every fact. */
export function wrongly(question: Question, all: readonly Question[]): Told[] {
  const { ask, fact, answer } = question;
  const [subject, key] = halvesOf(fact);
  const right = rightFor(ask)!;
  return all.flatMap((other): Told[] => {
    const [name, otherKey] = halvesOf(other.fact);
    if (otherKey !== key || name === subject) return [];
    const short = rightly(other).short.filter((words) => !isRight(right, words));
    // Who it is that does that: somebody else. What it is that one has: what another has.
    const whole = key.startsWith("who")
      ? answer.replace(titleIn(answer, subject), titleIn(other.answer, name))
      : other.answer.replace(name, subject);
    return isRight(right, whole) || short.length === 0 || countOf(whole, subject) > 1 ? [] : [{ whole, short }];
  });
}

/** "Pip the mouse", where it says so. */
const titleIn = (answer: string, name: string) => answer.match(new RegExp(`${name}( the \\w+)?`))![0];
const countOf = (text: string, word: string) => text.split(word).length - 1;
