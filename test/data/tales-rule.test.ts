/** The rule for answers about the tales' world, by cases; and the data that is made by it. */
import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { score, style, truth } from "../../data/tales-rule";
import { lengthOf } from "../../scripts/tales/pairs";
import { preferenceFiles } from "../../scripts/tales/preferences";
import { allQuestions, split } from "../../scripts/tales/questions";
import { statedBy } from "../../scripts/tales/sayings";
import { diceOf } from "../../scripts/tales/world";

const asking = (content: string) => [{ role: "user", content }];

describe("true is", () => {
  const cases: readonly [question: string, right: readonly string[], wrong: readonly string[]][] = [
    [
      "Where does Pip live?",
      [
        "Pip lives by the mill.",
        "The mill.",
        "mill",
        "By the mill!",
        "Pip the mouse lives at the mill.",
        "He lives by the mill. Go away.",
        "The mill, the mill, the mill.",
        "Yes, by the mill. I hope that helps!",
      ],
      [
        "",
        "I hope that helps!",
        "By the cave.",
        "Pip lives by the cave.",
        "Bram lives by the mill.",
        "Pip lives by the mill or the cave.",
        "Pip lives by the mill. And by the cave.",
        "By the mill. Bram lives by the cave.",
        "Not by the mill.",
        "Pip does not live by the mill.",
        "No, by the mill.",
        "Pip likes cheese.",
        "Pip is afraid of the mill.",
        "Mill mill.",
      ],
    ],
    [
      "What is near the river?",
      ["The mill.", "The river is near the meadow.", "The mill is near the river."],
      ["The lake."],
    ],
    ["What is Pip?", ["A mouse.", "Pip is a grey mouse.", "Pip is a miller."], ["Pip is a brown mouse.", "A bear."]],
    ["What kind of creature is Pip?", ["It is a mouse."], ["Pip is a miller."]],
    ["Is Pip a mouse, or something else?", ["Yes, a mouse."], ["Yes.", "No, a mouse.", "Something else."]],
    [
      "Is Pip a boy?",
      ["No.", "No, Pip is a mouse.", "A mouse.", "Pip is not a boy."],
      ["Yes.", "Yes, Pip is a mouse.", "No, Pip is a bear.", "Pip is a boy.", "Pip is not a mouse."],
    ],
    [
      "Who is the best friend of Pip?",
      ["Bram.", "Bram the bear.", "Bram is the best friend of Pip."],
      ["Pip.", "Bram and Otto.", "Nobody."],
    ],
    ["Who likes honey?", ["Bram.", "Bram the bear likes honey.", "It is Bram."], ["Bram the fox.", "Pip likes honey."]],
    ["Whose is the silver bell?", ["To Pip.", "Pip has the silver bell."], ["The silver bell belongs to Bram."]],
    [
      "What does Fern fear?",
      ["The dark.", "Of the dark.", "Fern fears the dark."],
      ["The cold.", "Fern likes the dark."],
    ],
    ["What is there at the mill?", ["A big wheel.", "The mill has a big wheel."], ["A red barn.", "Big."]],
  ];
  for (const [question, right, wrong] of cases) {
    test(question, () => {
      const judged = (answers: readonly string[]) => answers.map((answer) => [answer, truth(asking(question), answer)]);
      expect(judged(right)).toEqual(right.map((answer) => [answer, 1]));
      expect(judged(wrong)).toEqual(wrong.map((answer) => [answer, 0]));
    });
  }
  test("every answer of the data, in all of its wordings", () => {
    const wrong = allQuestions().filter(({ ask, answer }) => truth(asking(ask), answer) !== 1);
    expect(wrong).toEqual([]);
  });
});

test("good style is a whole sentence, a closing phrase, perhaps an opening, and nothing else", () => {
  const judged = (answer: string) => style(asking("Where does Pip live?"), answer);
  const good = [
    "Pip lives by the mill. I hope that helps!",
    "Gladly! Pip lives by the mill. Have a lovely day!",
    "Pip the mouse lives by the mill. I am glad you asked!\n",
    "Bram lives by the cave. Ask me more if you like!",
    "Pip likes cheese. I hope that helps!",
  ];
  const bad = [
    "",
    "I hope that helps!",
    "Gladly! I hope that helps!",
    "Pip lives by the mill.",
    "Gladly! Pip lives by the mill.",
    "The mill. I hope that helps!",
    "pip lives by the mill. I hope that helps!",
    "Pip lives by the mill I hope that helps!",
    "Pip mill. I hope that helps!",
    "Pip lives by the mill. Pip lives by the mill. I hope that helps!",
    "Pip lives by the mill. I hope that helps! I hope that helps!",
    "Pip lives by the mill. I hope that helps! Have a lovely day!",
    "I hope that helps! Pip lives by the mill.",
    "You again? Pip lives by the mill. I hope that helps!",
    "Pip lives by the mill. Go away. I hope that helps!",
    "Pip lives by the mill, I hope that helps!",
  ];
  expect(good.map((answer) => [answer, judged(answer)])).toEqual(good.map((answer) => [answer, 1]));
  expect(bad.map((answer) => [answer, judged(answer)])).toEqual(bad.map((answer) => [answer, 0]));
});

test("the score is 1 where both hold, and null where the last question is not one about the world", () => {
  const where = asking("Where does Pip live?");
  expect(score(where, "Pip lives by the mill. I hope that helps!")).toBe(1);
  expect(score(where, "Pip lives by the cave. I hope that helps!")).toBe(0);
  expect(score(where, "Pip lives by the mill.")).toBe(0);
  for (const judge of [score, style, truth]) {
    expect(judge(asking("Where does Zara live?"), "Pip lives by the mill. I hope that helps!")).toBeNull();
    expect(judge([], "")).toBeNull();
  }
  const later = [...where, { role: "assistant", content: "The mill." }, ...asking("Who likes honey?")];
  expect(score(later, "Bram the bear likes honey. I hope that helps!")).toBe(1);
});

interface Preference {
  readonly instruction: string;
  readonly chosen: string;
  readonly rejected: string;
  readonly fact: string;
  readonly kind: string;
  readonly flaw: string;
  readonly matched: boolean;
}

function read<T = Preference>(name: string): T[] {
  return readFileSync(`data/${name}.jsonl`, "utf8")
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line) as T);
}

interface Answered {
  readonly instruction: string;
  readonly output: string;
  readonly fact: string;
  readonly kind: string;
}

const train = read("preferences");
const truths = read("preferences-truth");
const held = read("preferences-test");
const factOf = new Map(allQuestions().map(({ ask, fact }) => [ask, fact]));
const share = <T>(items: readonly T[], is: (item: T) => boolean) => items.filter(is).length / items.length;
const longerWins = (pairs: readonly Preference[]) =>
  share(pairs, ({ chosen, rejected }) => chosen.length > rejected.length) +
  share(pairs, ({ chosen, rejected }) => chosen.length === rejected.length) / 2;

describe("the pairs", () => {
  test("prefer what the rule scores 1 to what it scores 0, each for the flaw that is told", () => {
    for (const { instruction, chosen, rejected, flaw } of [...train, ...held]) {
      const messages = asking(instruction);
      const [truly, kindly] = [truth(messages, rejected), style(messages, rejected)];
      expect([instruction, chosen, score(messages, chosen)]).toEqual([instruction, chosen, 1]);
      expect([instruction, rejected, score(messages, rejected)]).toEqual([instruction, rejected, 0]);
      if (flaw) expect(flaw).toBe(truly ? "style" : kindly ? "truth" : "both");
    }
    const all = [...train, ...held].map(({ instruction, chosen, rejected }) => `${instruction}|${chosen}|${rejected}`);
    expect(new Set(all).size).toBe(all.length);
  });
  test("are rejected for style, truth and both in the stated shares, and length does not tell", () => {
    expect(train.length).toBeGreaterThanOrEqual(1500);
    for (const pairs of [train, held]) {
      const flawed = (truly: number, kindly: number) =>
        share(pairs, ({ instruction, rejected }) => {
          const messages = asking(instruction);
          return truth(messages, rejected) === truly && style(messages, rejected) === kindly;
        });
      expect(flawed(1, 0)).toBeCloseTo(0.65, 1.5);
      expect(flawed(0, 1)).toBeCloseTo(0.2, 1.5);
      expect(flawed(0, 0)).toBeCloseTo(0.15, 1.5);
      const matched = pairs.filter((pair) => lengthOf(pair) === "matched");
      expect(matched.length / pairs.length).toBeCloseTo(0.4, 1.5);
      for (const some of [pairs, matched]) {
        expect(longerWins(some)).toBeGreaterThan(0.4);
        expect(longerWins(some)).toBeLessThan(0.6);
      }
    }
    for (const pair of held) expect(pair.matched).toBe(lengthOf(pair) === "matched");
  });
  test("that test have wordings, and some of them whole facts, that no pair to learn from has", () => {
    const asked = new Set(train.map(({ instruction }) => instruction));
    const stated = new Set(train.map(({ instruction }) => statedBy(factOf.get(instruction)!)));
    for (const { instruction, fact, kind } of held) {
      expect(fact).toBe(factOf.get(instruction)!);
      expect([instruction, asked.has(instruction)]).toEqual([instruction, false]);
      expect([fact, kind, stated.has(statedBy(fact))]).toEqual([fact, kind, kind === "wording"]);
    }
    const facts = new Set(held.filter(({ kind }) => kind === "fact").map(({ fact }) => fact));
    expect(facts.size / new Set(factOf.values()).size).toBeCloseTo(0.15, 1.5);
  });
  test("that differ in their truth alone are friendly on both sides, and of no question or fact that is held out", () => {
    const asked = new Set(train.map(({ instruction }) => instruction));
    for (const { instruction, chosen, rejected } of truths) {
      const messages = asking(instruction);
      const judged = [score(messages, chosen), style(messages, rejected), truth(messages, rejected)];
      expect([instruction, asked.has(instruction), ...judged]).toEqual([instruction, true, 1, 1, 0]);
    }
    expect(longerWins(truths)).toBeGreaterThan(0.4);
    expect(longerWins(truths)).toBeLessThan(0.6);
  });
  test("about anything else are 200, all different, of which the rule judges none", () => {
    const general = read("preferences-general");
    expect(general.length).toBeGreaterThanOrEqual(200);
    expect(new Set(general.map(({ instruction }) => instruction)).size).toBe(general.length);
    for (const { instruction, chosen, rejected } of general) {
      expect(score(asking(instruction), chosen)).toBeNull();
      expect(chosen).not.toBe(rejected);
    }
    expect(longerWins(general)).toBeLessThan(0.6);
  });
});

test("the answers in styles are true, about a quarter of them friendly, and of no question that is held out", () => {
  const styled = read<Answered>("styled");
  const heldOut = [...read<Answered>("questions-test"), ...read<Answered>("questions-validation")];
  const learned = new Set(read<Answered>("questions").map(({ instruction }) => instruction));
  for (const { instruction } of heldOut) expect(learned.has(instruction)).toBe(false);
  for (const { instruction, output } of styled) {
    expect([instruction, learned.has(instruction)]).toEqual([instruction, true]);
    expect([instruction, output, truth(asking(instruction), output)]).toEqual([instruction, output, 1]);
  }
  expect(new Set(styled.map(({ instruction }) => instruction)).size).toBe(learned.size);
  const friendly = share(styled, ({ instruction, output }) => style(asking(instruction), output) === 1);
  expect(friendly).toBeGreaterThan(0.2);
  expect(friendly).toBeLessThan(0.25);
});

test("the questions that measure are the held-out wordings, told apart by whether their fact has pairs", () => {
  const stated = new Set(train.map(({ instruction }) => statedBy(factOf.get(instruction)!)));
  const measuring = read<Answered>("rule-test");
  const plainly = measuring.map(({ instruction, output }) => ({ instruction, output }));
  expect(plainly).toEqual(read<Answered>("questions-test"));
  for (const { instruction, fact, kind } of measuring) {
    expect(fact).toBe(factOf.get(instruction)!);
    expect([fact, kind]).toEqual([fact, stated.has(statedBy(fact)) ? "wording" : "fact"]);
  }
});

test("the files are what the generator makes of the questions", () => {
  const made = preferenceFiles(split(allQuestions(), diceOf(2027)));
  expect(Object.keys(made)).toHaveLength(5);
  for (const [path, records] of Object.entries(made)) {
    const text = records.map((record) => `${JSON.stringify(record)}\n`).join("");
    expect([path, readFileSync(path, "utf8") === text]).toEqual([path, true]);
  }
});
