/** The files of every task whose answers a rule can judge, each a function of its seed. */
import { diceOf } from "../tales/world";
import { countingFiles } from "./counting";
import { letterFiles } from "./letters";
import type { Files } from "./lines";
import { sumFiles } from "./sums";

export function taskFiles(): Files {
  return { ...sumFiles(diceOf(2040)), ...letterFiles(diceOf(2041)), ...countingFiles(diceOf(2042)) };
}
