/** The files for learning a style: answers in four styles, pairs to prefer from, and questions to measure by. */
import { pairsFor, shuffled } from "./pairs";
import type { Question, Split } from "./questions";
import { statedBy } from "./sayings";
import { answerIn, answersIn, rightly, styles, wrongly } from "./styles";
import { type Dice, diceOf } from "./world";

/** The records of every file, by its path. */
export function preferenceFiles({ train, test }: Pick<Split, "train" | "test">): Record<string, readonly object[]> {
  const pairs = preferences({ train, test }, diceOf(2029));
  return {
    "data/styled.jsonl": styledAnswers(train, diceOf(2030)),
    "data/preferences.jsonl": pairs.train,
    "data/preferences-truth.jsonl": truthPairs(
      train.filter(({ fact }) => !pairs.heldOut.has(fact)),
      pairs.all,
      diceOf(2031),
    ),
    "data/preferences-test.jsonl": pairs.test,
    "data/rule-test.jsonl": ruleTest(test, pairs.heldOut),
  };
}

/** Of so many questions one has no friendly answer, but a second curt one: no answer is to be friendly because most are. */
const CURT_EVERY = 8;

/** Every question in all four styles, so that its words do not tell the style. All answers are true. */
function styledAnswers(questions: readonly Question[], dice: Dice) {
  const asked = questions.flatMap((question, i) =>
    styles.map((style) => ({
      question,
      style: style === "friendly" && i % CURT_EVERY === 0 ? ("curt" as const) : style,
    })),
  );
  return shuffled(asked, dice).map(({ question, style }) => ({
    instruction: question.ask,
    output: answerIn(style, rightly(question), dice),
  }));
}

/** Of what the facts state, so much is in no pair to learn from, whichever way it is asked for. */
const HELD_OUT = 0.15;
/** Pairs of a question that is learned from, at most: the second ones are of every third question. */
const SECOND_EVERY = 3;
/** Pairs of each held-out wording; and wordings, with a pair each, of each fact that has no pair to learn from. */
const OF_WORDING = 2;
const OF_FACT = 3;

/** Pairs to learn from, and to test by: of wordings that no pair to learn from has, and of facts that none has. */
function preferences({ train, test }: Pick<Split, "train" | "test">, dice: Dice) {
  const all = [...new Map([...test, ...train].map((question) => [question.fact, question])).values()];
  const stated = [...new Set(all.map(({ fact }) => statedBy(fact)))];
  const hidden = shuffled(stated, dice).slice(0, Math.round(HELD_OUT * stated.length));
  const heldOut = new Set(all.map(({ fact }) => fact).filter((fact) => hidden.includes(statedBy(fact))));
  const known = train.filter(({ fact }) => !heldOut.has(fact));
  const learned = shuffled([...known, ...known.filter((_, i) => i % SECOND_EVERY === 0)], dice);
  const wordings = test
    .filter(({ fact }) => !heldOut.has(fact))
    .flatMap((question) => Array(OF_WORDING).fill(question));
  const facts = all
    .filter(({ fact }) => heldOut.has(fact))
    .flatMap(({ fact }) => [...test, ...train].filter((question) => question.fact === fact).slice(0, OF_FACT));
  const tested = (asked: readonly Question[], kind: "wording" | "fact") =>
    pairsFor(asked, all, dice).map((pair, i) => ({ ...pair, fact: asked[i]!.fact, kind }));
  return {
    all,
    heldOut,
    train: pairsFor(learned, all, dice).map(({ instruction, chosen, rejected }) => ({ instruction, chosen, rejected })),
    test: [...tested(wordings, "wording"), ...tested(facts, "fact")],
  };
}

/** Pairs of each question that differ in nothing but their truth: what is true of so small a world takes many cases to learn. */
const OF_TRUTH = 4;

/** Two friendly answers, one of them false; no two pairs of a question with the same false one. */
function truthPairs(questions: readonly Question[], all: readonly Question[], dice: Dice) {
  const pairs = questions.flatMap((question) =>
    shuffled(wrongly(question, all), dice)
      .slice(0, OF_TRUTH)
      .map((told) => ({
        instruction: question.ask,
        chosen: dice.pick(answersIn.friendly(rightly(question))),
        rejected: dice.pick(answersIn.friendly(told)),
      })),
  );
  return shuffled(pairs, dice);
}

/** The held-out wordings: of facts of which there are pairs, and of facts of which there are none. */
function ruleTest(test: readonly Question[], heldOut: ReadonlySet<string>) {
  return test.map(({ ask, answer, fact }) => ({
    instruction: ask,
    output: answer,
    fact,
    kind: heldOut.has(fact) ? "fact" : "wording",
  }));
}
