/** The files of every task whose answers a rule can judge, each a function of its seed. */
import { allQuestions, split } from "../tales/questions";
import { diceOf } from "../tales/world";
import { countingFiles } from "./counting";
import { lengthFiles } from "./lengths";
import { letterFiles } from "./letters";
import type { Files } from "./lines";
import { lipogramFiles } from "./lipogram";
import { sumFiles } from "./sums";
import { taggedFiles } from "./tagged";

export function taskFiles(): Files {
  return {
    ...sumFiles(diceOf(2040)),
    ...letterFiles(diceOf(2041)),
    ...countingFiles(diceOf(2042)),
    // The split is the one by which the questions are written: what they hold out stays held out here.
    ...taggedFiles(split(allQuestions(), diceOf(2027)).train, diceOf(2043)),
    ...lengthFiles(diceOf(2044)),
    ...lipogramFiles(diceOf(2045)),
  };
}
