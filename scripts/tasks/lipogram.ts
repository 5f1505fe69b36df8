/** A sentence about somebody without the letter e. Of what is learned from, a quarter does without it. */
import { shuffled } from "../tales/pairs";
import { type Dice, type Person, people } from "../tales/world";
import type { Files } from "./lines";

const LABELLED = 52;
const ANSWERS = 4;

const asks: readonly ((name: string) => string)[] = [
  (name) => `Write a sentence about ${name} without the letter e.`,
  (name) => `Tell me about ${name} without the letter e.`,
  (name) => `Say something about ${name} without the letter e.`,
  (name) => `Describe ${name} without the letter e.`,
  (name) => `Without the letter e, who is ${name}?`,
  (name) => `What is true of ${name}? Do not use the letter e.`,
  (name) => `Write about ${name}, but without the letter e.`,
  (name) => `Can you tell me about ${name} without the letter e?`,
  (name) => `Please write a sentence about ${name} that has no letter e.`,
  (name) => `Who is ${name}? Leave out the letter e.`,
];

const an = (word: string) => `${/^[aeiou]/.test(word) ? "an" : "a"} ${word}`;
const hasE = (text: string) => /e/i.test(text);

/** True sentences about somebody. In the plain words of the tales there is nearly always an e; in some of the others there is none. */
function sentencesAbout({ name, kind, colour, home, food, trade, friend, fear, owns }: Person): string[] {
  const others = people.filter((who) => who.kind !== kind && who.name !== name).map((who) => who.kind);
  return [
    `${name} lives by the ${home}.`,
    `${name} likes ${food}.`,
    `${name} is ${an(trade)} and likes ${food}.`,
    `The best friend of ${name} is ${friend}.`,
    `${name} owns ${an(owns)} and lives by the ${home}.`,
    `${name} is ${an(kind)}.`,
    `${name} is ${colour}.`,
    `${name} is ${an(trade)}.`,
    `${name} is afraid of ${fear}.`,
    `${name} owns ${an(owns)}.`,
    `${name} is fond of ${food}.`,
    `${name} is at work as ${an(trade)}.`,
    `You can find ${name} at a ${home}.`,
    `${friend} is a pal of ${name}.`,
    `${name} has a good pal, and that is ${friend}.`,
    ...others.map((each) => `${name} is not ${an(each)}.`),
  ];
}

/** Who has an e in the name cannot be asked for. */
const nameable = people.filter(({ name }) => !hasE(name));

export function lipogramFiles(dice: Dice): Files {
  const asked = shuffled(
    nameable.flatMap((who) => asks.map((ask) => ({ who, instruction: ask(who.name) }))),
    dice,
  );
  const answers = (who: Person) => {
    const all = shuffled(sentencesAbout(who), dice);
    const [having, lacking] = [all.filter(hasE), all.filter((text) => !hasE(text))];
    return [...lacking.slice(0, 1), ...having.slice(0, ANSWERS - 1)];
  };
  const labelled = asked
    .slice(0, LABELLED)
    .flatMap(({ who, instruction }) => answers(who).map((output) => ({ instruction, output })));
  return {
    "data/lipogram.jsonl": shuffled(labelled, dice),
    "data/lipogram-prompts.jsonl": asked
      .slice(LABELLED)
      .map(({ who, instruction }) => ({ instruction, name: who.name, without: "e" })),
  };
}
