/** How often somebody is named in a few sentences in the manner of the tales. What they state of people is true in the world. */
import { type Dice, type Person, people, personNamed } from "../tales/world";
import { type Files, labelledAndNot } from "./lines";

const an = (word: string) => `${/^[aeiou]/.test(word) ? "an" : "a"} ${word}`;

/** A sentence that names one or both, one of them perhaps twice. */
function sentence(dice: Dice, a: Person, b: Person): string {
  const { name, kind, home, food, trade, fear, owns } = a;
  return dice.pick([
    `${name} was ${an(kind)} and lived by the ${home}.`,
    `${name} the ${kind} was ${an(trade)}.`,
    `The friend of ${name} was ${a.friend}.`,
    `${name} was afraid of ${fear}, but ${b.name} was not.`,
    `${name} and ${b.name} shared some ${food}.`,
    `"Good night, ${b.name}," said ${name}.`,
    `"Where is my ${owns}?" asked ${name}.`,
    `${name} looked for ${b.name}, and ${b.name} looked for ${name}.`,
    `"Thank you, ${name}," said ${b.name}, and ${name} smiled.`,
    `${name} had ${an(owns)}, and ${name} was proud of it.`,
    `${name} sang, ${name} danced, and ${b.name} laughed.`,
  ]);
}

/** As a word of its own. */
const timesNamed = (name: string, text: string) => text.match(new RegExp(`\\b${name}\\b`, "g"))?.length ?? 0;

/** Two or three sentences, in which somebody is named so often, and who that is: somebody who is there unless it is 0. */
function textNaming(times: number, dice: Dice): { readonly text: string; readonly name: string } {
  for (;;) {
    const a = dice.pick(people);
    const b = dice.pick([personNamed(a.friend), dice.pick(people.filter((who) => who !== a))]);
    const length = dice.pick([2, 3]);
    const text = Array.from({ length }, () => sentence(dice, ...dice.pick([[a, b] as const, [b, a] as const]))).join(
      " ",
    );
    const fitting = people.filter(({ name }) => timesNamed(name, text) === times);
    if (fitting.length > 0) return { text, name: dice.pick(fitting).name };
  }
}

export function countingFiles(dice: Dice): Files {
  return labelledAndNot("counting", () => {
    const times = dice.pick([0, 1, 2, 3, 4]);
    const { text, name } = textNaming(times, dice);
    return { key: text, instruction: `${text} How often is ${name} named?`, answer: String(times) };
  });
}
