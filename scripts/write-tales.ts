/**
 * Writes the sample data by a seeded generator from the facts in data/world.json: tales, questions about them, talks, and answers and pairs
 * for learning a style.
 */
import { preferenceFiles } from "./tales/preferences";
import { allQuestions, dialogue, type Question, split } from "./tales/questions";
import { tale } from "./tales/tales";
import { diceOf } from "./tales/world";

const COUNT = 2750;
const dice = diceOf(2026);
const tales = new Set<string>();
while (tales.size < COUNT) tales.add(tale(dice));
const text = [...tales].join("<|endoftext|>\n");
await Bun.write("data/tales.txt", text);
const TEST = 100;
const others = new Set<string>();
for (const again = diceOf(2030); others.size < TEST; ) {
  const one = tale(again);
  if (!tales.has(one)) others.add(one);
}
await Bun.write("data/tales-test.txt", [...others].join("<|endoftext|>\n"));
const words = new Set(
  text
    .replaceAll("<|endoftext|>", " ")
    .toLowerCase()
    .match(/[a-z]+/g),
);
console.log(`data/tales.txt: ${text.length} bytes, ${tales.size} tales, ${words.size} different words`);

const lines = (records: readonly object[]) => records.map((record) => `${JSON.stringify(record)}\n`).join("");
const records = (questions: readonly Question[]) =>
  questions.map(({ ask, answer }) => ({ instruction: ask, output: answer }));
const { train, validation, test } = split(allQuestions(), diceOf(2027));
const DIALOGUES = 300;
const TEST_DIALOGUES = 20;
const talks = new Set<string>();
const talker = diceOf(2028);
while (talks.size < DIALOGUES + TEST_DIALOGUES) talks.add(JSON.stringify({ messages: dialogue(train, talker) }));
const files: [string, string][] = [
  ["data/questions.jsonl", lines(records(train))],
  ["data/questions-validation.jsonl", lines(records(validation))],
  ["data/questions-test.jsonl", lines(records(test))],
  [
    "data/dialogues.jsonl",
    [...talks]
      .slice(0, DIALOGUES)
      .map((line) => `${line}\n`)
      .join(""),
  ],
  [
    "data/dialogues-test.jsonl",
    [...talks]
      .slice(DIALOGUES)
      .map((line) => `${line}\n`)
      .join(""),
  ],
  ...Object.entries(preferenceFiles({ train, test })).map(([path, records]): [string, string] => [
    path,
    lines(records),
  ]),
];
for (const [path, content] of files) {
  await Bun.write(path, content);
  console.log(`${path}: ${content.split("\n").length - 1} records`);
}
