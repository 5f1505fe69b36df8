/** Writes data/tales.txt: the sample corpus, by a seeded generator from the facts in data/world.json. */
import { tale } from "./tales/tales";
import { diceOf } from "./tales/world";

const COUNT = 2750;
const dice = diceOf(2026);
const tales = new Set<string>();
while (tales.size < COUNT) tales.add(tale(dice));
const text = [...tales].join("<|endoftext|>\n");
await Bun.write("data/tales.txt", text);
const words = new Set(
  text
    .replaceAll("<|endoftext|>", " ")
    .toLowerCase()
    .match(/[a-z]+/g),
);
console.log(`data/tales.txt: ${text.length} bytes, ${tales.size} tales, ${words.size} different words`);
