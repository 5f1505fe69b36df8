/** Pairs to prefer from: a friendly and true answer before one that is in bad style, false, or both; of all lengths. */
import type { Question } from "./questions";
import { answersIn, rightly, type Style, wrongly } from "./styles";
import type { Dice } from "./world";

export interface Pair {
  readonly instruction: string;
  readonly chosen: string;
  readonly rejected: string;
}

/** What is wrong with the answer that is rejected. */
export type Flaw = "style" | "truth" | "both";

/** The length of the rejected answer beside the chosen one's: within 10%, or more, or less than that. */
type Length = "matched" | "longer" | "shorter";

interface Plan {
  readonly flaw: Flaw;
  readonly style: Style;
  readonly length: Length;
}

const plan = (count: number, flaw: Flaw, style: Style, length: Length): Plan[] =>
  Array<Plan>(count).fill({ flaw, style, length });

/**
 * What twenty pairs are like: 13 are rejected for their style, 4 for what they say, 3 for both. 8 are matched in length, of 6 each the
 * rejected side is the longer and the shorter one.
 */
export const plans: readonly Plan[] = [
  ...plan(3, "style", "rude", "matched"),
  ...plan(2, "style", "repetitive", "matched"),
  ...plan(2, "truth", "friendly", "matched"),
  ...plan(1, "both", "rude", "matched"),
  ...plan(2, "style", "rude", "longer"),
  ...plan(2, "style", "repetitive", "longer"),
  ...plan(1, "truth", "friendly", "longer"),
  ...plan(1, "both", "repetitive", "longer"),
  ...plan(3, "style", "curt", "shorter"),
  ...plan(1, "style", "rude", "shorter"),
  ...plan(1, "truth", "friendly", "shorter"),
  ...plan(1, "both", "curt", "shorter"),
];

/** Of two sides. */
export function lengthOf({ chosen, rejected }: Pick<Pair, "chosen" | "rejected">): Length {
  if (Math.abs(rejected.length - chosen.length) <= 0.1 * Math.max(rejected.length, chosen.length)) return "matched";
  return rejected.length > chosen.length ? "longer" : "shorter";
}

/** Every pair for a question by a plan; what is false in them is one thing. `all`: one question of every fact. */
function pairsOf(question: Question, { flaw, style, length }: Plan, all: readonly Question[], dice: Dice): Pair[] {
  const right = rightly(question);
  const told = flaw === "style" ? right : dice.pick(wrongly(question, all));
  const bad = answersIn[style](told);
  const pairs = answersIn
    .friendly(right)
    .flatMap((chosen) => bad.map((rejected) => ({ instruction: question.ask, chosen, rejected })));
  const fitting = pairs.filter((pair) => lengthOf(pair) === length);
  if (fitting.length === 0) throw new Error(`no ${length} ${style} answer to ${question.ask}`);
  return fitting;
}

/** As many pairs as there are questions, all different; the plans are dealt out in turns, each turn in an order of its own. */
export function pairsFor(asked: readonly Question[], all: readonly Question[], dice: Dice) {
  const taken = new Set<string>();
  let left: Plan[] = [];
  return asked.map((question) => {
    if (left.length === 0) left = shuffled(plans, dice);
    const next = left.pop()!;
    const pair = dice.pick(pairsOf(question, next, all, dice).filter((each) => !taken.has(keyOf(each))));
    taken.add(keyOf(pair));
    return { ...pair, flaw: next.flaw, matched: next.length === "matched" };
  });
}

const keyOf = ({ instruction, chosen, rejected }: Pair) => `${instruction}\n${chosen}\n${rejected}`;

export function shuffled<T>(items: readonly T[], dice: Dice): T[] {
  const left = [...items];
  return items.map(() => left.splice(left.indexOf(dice.pick(left)), 1)[0]!);
}
