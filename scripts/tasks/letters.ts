/** Letters to put in order: every set of letters is asked for once. */
import { shuffled } from "../tales/pairs";
import type { Dice } from "../tales/world";
import { type Files, labelledAndNot } from "./lines";

const alphabet = [..."abcdefghijklmnopqrstuvwxyz"];

export function letterFiles(dice: Dice): Files {
  return labelledAndNot("letters", () => {
    const letters = shuffled(alphabet, dice).slice(0, dice.pick([4, 5, 6]));
    const answer = letters.toSorted().join(" ");
    return { key: answer, instruction: `Sort the letters: ${letters.join(" ")}`, answer };
  });
}
