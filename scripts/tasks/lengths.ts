/** Something about somebody in so many words. What is learned from keeps to that number only now and then. */
import { shuffled } from "../tales/pairs";
import { type Dice, type Person, people, tradeOf } from "../tales/world";
import type { Files } from "./lines";

const LABELLED = 400;
const lengths = [4, 5, 6, 7, 8, 9, 10, 11, 12];

const asks: readonly ((name: string, words: number) => string)[] = [
  (name, words) => `Tell me about ${name} in ${words} words.`,
  (name, words) => `Say something about ${name} in ${words} words.`,
  (name, words) => `In ${words} words, who is ${name}?`,
  (name, words) => `What do you know about ${name}? Take ${words} words.`,
  (name, words) => `Write ${words} words about ${name}.`,
  (name, words) => `Describe ${name} in ${words} words.`,
];

const an = (word: string) => `${/^[aeiou]/.test(word) ? "an" : "a"} ${word}`;

/** True sentences about somebody: one to three facts in each. */
function sentencesAbout(who: Person): string[] {
  const { name, kind, colour, home, food, trade, friend, fear, owns } = who;
  const facts = [
    `is ${an(trade)}`,
    `likes ${food}`,
    `lives by the ${home}`,
    `is afraid of ${fear}`,
    `owns ${an(owns)}`,
    `makes ${tradeOf(who).makes}`,
    `is the best friend of ${friend}`,
  ];
  const two = facts.flatMap((first, i) => facts.slice(i + 1).map((second) => `${first} and ${second}`));
  const three = facts.flatMap((first, i) =>
    facts
      .slice(i + 1)
      .flatMap((second, j) => facts.slice(i + j + 2).map((third) => `${first}, ${second} and ${third}`)),
  );
  return [name, `${name} the ${kind}`, `${name} the ${colour} ${kind}`].flatMap((subject) =>
    [...facts, ...two, ...three].map((told) => `${subject} ${told}.`),
  );
}

/** How far off an answer may be: right in a third of the cases. */
const offsets = [0, 0, 0, -1, 1, -2, 2, -3, 3];

export function lengthFiles(dice: Dice): Files {
  const all = people.flatMap((who) => lengths.flatMap((words) => asks.map((ask) => ({ who, words, ask }))));
  const known = new Map(people.map((who) => [who, sentencesAbout(who)]));
  const asked = shuffled(all, dice);
  const inWords = (who: Person, words: number) =>
    known.get(who)!.filter((sentence) => sentence.split(" ").length === words);
  return {
    "data/lengths.jsonl": asked.slice(0, LABELLED).map(({ who, words, ask }) => {
      const lengths = offsets.map((offset) => inWords(who, words + offset)).filter(({ length }) => length > 0);
      return { instruction: ask(who.name, words), output: dice.pick(dice.pick(lengths)) };
    }),
    "data/lengths-prompts.jsonl": asked
      .slice(LABELLED)
      .map(({ who, words, ask }) => ({ instruction: ask(who.name, words), words })),
  };
}
