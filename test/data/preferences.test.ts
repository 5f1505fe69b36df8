/** Preferences in every format: what becomes of a record's prompt and of both its sides, and what is refused. */
import { describe, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { encodePreferences, type PreferenceEncoding } from "../../src/data/preference-examples";
import { loadPreferences } from "../../src/data/preference-samples";
import { convertPreferences, type LocatedPreference, recognisePreferences } from "../../src/data/preferred";
import { showExample } from "../../src/data/show";
import { sidesOfText, sidesOfWhole } from "../../src/data/sides";
import { readJudged, readPairs } from "../../src/stages/preferences";
import type { Message } from "../../src/text/template";
import { bytes, smallContext, template } from "../support/comparing";
import { temporaryFolder } from "../support/folder";

const trees = { paths: "all", lang: "", quality: 0 } as const;
const user = (content: string): Message => ({ role: "user", content });
const assistant = (content: string): Message => ({ role: "assistant", content });

function converted(...records: object[]) {
  const rows = records.map((fields, i) => ({ fields: fields as Record<string, unknown>, where: `row ${i + 1}` }));
  return convertPreferences(rows, recognisePreferences(rows), trees);
}

const encoding = (more: Partial<PreferenceEncoding> = {}): PreferenceEncoding => ({
  tokenizer: bytes,
  template,
  tokens: 1000,
  overlong: "cut",
  strict: false,
  ...more,
});

/** Each side as the model sees it. */
async function seen(...records: object[]): Promise<string[][]> {
  const { preferences, read, bad } = converted(...records);
  const { pairs, judged } = await encodePreferences({ preferences, read, bad }, encoding());
  const show = (example: Parameters<typeof showExample>[0]) => showExample(example, bytes, { colour: false });
  return [
    ...pairs.map(({ chosen, rejected }) => [show(chosen), show(rejected)]),
    ...judged.map(({ answer, good }) => [good ? "good" : "bad", show(answer)]),
  ];
}

const END = "<|endoftext|>";
const hello = `User: Hello\nAssistant:`;
const talk = [user("Hello"), assistant("Hi"), user("And?")];
const talked = `User: Hello\nAssistant: Hi${END}\nUser: And?\nAssistant:`;

describe("a pair is read from", () => {
  test.each<[string, object, string[]]>([
    [
      "an instruction",
      { instruction: "Hello", chosen: "Hi", rejected: "No" },
      [`${hello}« Hi${END}»`, `${hello}« No${END}»`],
    ],
    [
      "an instruction with input and a system's words",
      { instruction: "Add", input: "1 2", system: "Be kind.", chosen: "3", rejected: "4" },
      [`Be kind.\n\nUser: Add\n\n1 2\nAssistant:« 3${END}»`, `Be kind.\n\nUser: Add\n\n1 2\nAssistant:« 4${END}»`],
    ],
    ["a question", { question: "Hello", chosen: "Hi", rejected: "No" }, [`${hello}« Hi${END}»`, `${hello}« No${END}»`]],
    ["a prompt as it is", { prompt: "1 +", chosen: " 2", rejected: " 3" }, [`1 +« 2${END}»`, `1 +« 3${END}»`]],
    [
      "a prompt of turns, and answers of turns",
      { prompt: talk, chosen: [assistant("Good")], rejected: [assistant("Bad")] },
      [`${talked}« Good${END}»`, `${talked}« Bad${END}»`],
    ],
    [
      "a prompt of turns, and answers as texts",
      { prompt: talk, chosen: "Good", rejected: "Bad" },
      [`${talked}« Good${END}»`, `${talked}« Bad${END}»`],
    ],
    [
      "whole conversations",
      { chosen: [...talk, assistant("Good")], rejected: [...talk, assistant("Bad")] },
      [`${talked}« Good${END}»`, `${talked}« Bad${END}»`],
    ],
    [
      "whole conversations with a prompt of the first turn",
      { prompt: "Hello", chosen: [user("Hello"), assistant("Hi")], rejected: [user("Hello"), assistant("No")] },
      [`${hello}« Hi${END}»`, `${hello}« No${END}»`],
    ],
    [
      "conversations that part early, whose answers go on",
      {
        chosen: [user("Hello"), assistant("Hi"), user("A?"), assistant("B")],
        rejected: [user("Hello"), assistant("No")],
      },
      [`${hello}« Hi${END}»\nUser: A?\nAssistant:« B${END}»`, `${hello}« No${END}»`],
    ],
    [
      "other names of turns",
      {
        chosen: [
          { from: "human", value: "Hello" },
          { from: "gpt", value: "Hi" },
        ],
        rejected: [
          { from: "human", value: "Hello" },
          { from: "gpt", value: "No" },
        ],
      },
      [`${hello}« Hi${END}»`, `${hello}« No${END}»`],
    ],
    [
      "dialogues as text",
      {
        chosen: "\n\nHuman: Hello\n\nAssistant: Hi\n\nHuman: And?\n\nAssistant: Good",
        rejected: "\n\nHuman: Hello\n\nAssistant: Hi\n\nHuman: And?\n\nAssistant: Bad",
      },
      [`${talked}« Good${END}»`, `${talked}« Bad${END}»`],
    ],
    [
      "dialogues in which one speaks twice",
      {
        chosen: "\n\nHuman: He\n\nHuman: llo\n\nAssistant: Hi",
        rejected: "\n\nHuman: He\n\nHuman: llo\n\nAssistant: No",
      },
      [`User: He\n\nllo\nAssistant:« Hi${END}»`, `User: He\n\nllo\nAssistant:« No${END}»`],
    ],
    [
      "texts that begin alike",
      { chosen: "The sky is blue.", rejected: "The sky is green." },
      [`The sky is« blue.${END}»`, `The sky is« green.${END}»`],
    ],
    [
      "summaries",
      {
        info: { post: "A day.", title: "Day", subreddit: "r/life" },
        summaries: [{ text: "Bad" }, { text: " Good" }],
        choice: 1,
      },
      [
        `SUBREDDIT: r/life\n\nTITLE: Day\n\nPOST: A day.\n\nTL;DR:« Good${END}»`,
        `SUBREDDIT: r/life\n\nTITLE: Day\n\nPOST: A day.\n\nTL;DR:« Bad${END}»`,
      ],
    ],
  ])("%s", async (_name, record, wanted) => {
    expect(await seen(record)).toEqual([wanted]);
  });

  test("several answers with scores: every two that differ", async () => {
    const completions = [
      ["a", 3],
      ["b", 1],
      ["c", 3],
      ["d", 2],
    ].map(([response, overall_score]) => ({ response, overall_score }));
    const found = await seen({ instruction: "Hello", completions });
    const short = found.map((sides) => sides.map((side) => side.at(side.indexOf("«") + 2)).join(">"));
    expect(short.sort()).toEqual(["a>b", "a>d", "c>b", "c>d", "d>b"]);
  });

  test("or of these the best with the worst alone", () => {
    const completions = [2, 5, 1, 5, 1].map((overall_score, i) => ({ response: "abcde"[i], overall_score }));
    const rows = [{ fields: { instruction: "Hello", completions }, where: "row 1" }];
    const { preferences } = convertPreferences(rows, "ultrafeedback", trees, "ends");
    const said = preferences.map(
      (one) =>
        one.kind === "pair" &&
        [one.chosen, one.rejected].map((side) => side.kind === "messages" && side.messages[1]!.content),
    );
    expect(said).toEqual([["b", "e"]]);
  });

  test("message trees: sibling answers by their rank, below every message", async () => {
    const message = (role: string, text: string, rank: number | null, replies: object[] = []) => ({
      role,
      text,
      rank,
      replies,
    });
    const tree = {
      message_tree_id: "t",
      prompt: message("prompter", "Hello", null, [
        message("assistant", "second", 1),
        message("assistant", "first", 0, [
          message("prompter", "And?", null, [
            message("assistant", "x", null),
            message("assistant", "y", 0),
            message("assistant", "z", 1),
          ]),
        ]),
      ]),
    };
    const { preferences } = converted(tree);
    const said = (one: LocatedPreference) =>
      one.kind === "pair"
        ? [one.chosen, one.rejected].map(
            (side) => side.kind === "messages" && side.messages.map(({ content }) => content).join("|"),
          )
        : [];
    expect(preferences.map(said)).toEqual([
      ["Hello|first", "Hello|second"],
      ["Hello|first|And?|y", "Hello|first|And?|z"],
    ]);
  });

  test.each<[string, object, string[]]>([
    [
      "a prompt that is written as a dialogue, as it is",
      { prompt: "\n\nHuman: a\n\nAssistant:", chosen: " b", rejected: " c" },
      ["\n\nHuman: a\n\nAssistant:", " b"],
    ],
    ["no prompt but an empty one", { prompt: "", chosen: "a b c", rejected: "a b d" }, ["a b", " c"]],
    ["no instruction but a null", { instruction: null, prompt: "a", chosen: " b", rejected: " c" }, ["a", " b"]],
  ])("%s", async (_name, record, [before, answer]) => {
    expect((await seen(record))[0]![0]).toBe(`${before}«${answer}${END}»`);
  });

  test.each<[object, string[]]>([
    [{ prompt: "a", input: "b", system: "c", chosen: "d", rejected: "e" }, ["input", "system"]],
    [{ instruction: "a", prompt: "b", question: "c", chosen: "d", rejected: "e" }, ["prompt", "question"]],
    [{ prompt: "Other", chosen: [user("a"), assistant("b")], rejected: [user("a"), assistant("c")] }, ["prompt"]],
    [{ prompt: "a", chosen: [user("a"), assistant("b")], rejected: [user("a"), assistant("c")] }, []],
    [{ prompt: [user("a")], chosen: [user("a"), assistant("b")], rejected: [user("a"), assistant("c")] }, []],
    [{ system: "s", chosen: "a b", rejected: "a c" }, ["system"]],
    [
      { prompt: [user("a")], system: "s", chosen: "b", rejected: [{ ...assistant("c"), tool_calls: [1] }] },
      ["tool_calls of a turn"],
    ],
    [{ prompt: "a", completion: "b", output: "c", label: true }, ["output"]],
    [
      { messages: [...talk, assistant("b"), user("c")], prompt: "d", label: true },
      ["prompt", "what follows the last answer"],
    ],
    [
      { messages: [user("a"), { ...assistant("b"), train: false }], label: true },
      ["weight 0 or train false of a turn"],
    ],
  ])("%o: what is passed over is named", (record, wanted) => {
    const { preferences, bad } = converted(record);
    expect(bad).toEqual([]);
    expect([...(preferences[0]!.unread ?? [])].sort()).toEqual(wanted);
  });

  test("pairs of a record that cannot be used are told beside those that can", () => {
    const scored = (...given: [string, number][]) =>
      given.map(([response, overall_score]) => ({ response, overall_score }));
    const { preferences, bad } = converted({ instruction: "Hello", completions: scored(["a", 3], ["a", 2], ["b", 1]) });
    expect([preferences.length, bad.map(({ problem }) => problem)]).toEqual([2, ["the two sides are the same"]]);
    const blank = converted({ instruction: "Hello", completions: scored(["a", 3], [" ", 2], ["b", 1]) });
    expect([blank.preferences.length, blank.preferences[0]!.unread]).toEqual([
      1,
      ["completions without a response or a score"],
    ]);
  });

  test("ends that the data has as letters are the answers' ends, and not told as plain text", async () => {
    const given = converted({ instruction: "Hello", chosen: `Hi${END}`, rejected: "No" });
    const { pairs, report } = await encodePreferences(given, encoding());
    expect(showExample(pairs[0]!.chosen, bytes, { colour: false })).toBe(`${hello}« Hi${END}»`);
    expect(report.told.size).toBe(0);
    const within = converted({ instruction: "Hello", chosen: `Hi${END} you`, rejected: "No" });
    expect((await encodePreferences(within, encoding())).report.told.size).toBe(1);
  });

  test("its margin, and what else it says is named", () => {
    const { preferences } = converted({ prompt: "a", chosen: "b", rejected: "c", margin: "0.5", score_chosen: 4 });
    expect(preferences[0]).toMatchObject({ margin: 0.5, unread: ["score_chosen"] });
  });

  test("cells of a table that hold lists", async () => {
    using folder = temporaryFolder();
    const path = join(folder.path, "pairs.csv");
    const cell = (value: unknown) => `"${JSON.stringify(value).replaceAll('"', '""')}"`;
    const sides = [
      [user("Hello"), assistant("Hi")],
      [user("Hello"), assistant("No")],
    ].map(cell);
    for (const table of [
      `chosen,rejected\n${sides.join(",")}\n`,
      `prompt,chosen,rejected\n${cell([user("Hello")])},Hi,No\n`,
    ]) {
      writeFileSync(path, table);
      const loaded = await loadPreferences(path, { trees, strict: false });
      const { pairs } = await encodePreferences(loaded, encoding());
      expect(showExample(pairs[0]!.chosen, bytes, { colour: false })).toBe(`${hello}« Hi${END}»`);
    }
  });
});

describe("a label is read", () => {
  test.each([
    [true, "good"],
    ["false", "bad"],
    [1, "good"],
    ["0", "bad"],
    ["good", "good"],
    ["Bad", "bad"],
    ["desirable", "good"],
    ["undesirable", "bad"],
    ["thumbs_up", "good"],
    ["thumbs_down", "bad"],
  ])("%p as %s", async (label, wanted) => {
    expect(await seen({ prompt: "1 +", completion: " 2", label })).toEqual([[wanted, `1 +« 2${END}»`]]);
    expect(await seen({ instruction: "Hello", output: "Hi", label })).toEqual([[wanted, `${hello}« Hi${END}»`]]);
    expect(await seen({ messages: [...talk, assistant("Good")], label })).toEqual([[wanted, `${talked}« Good${END}»`]]);
  });
});

describe("what cannot be used is counted with its reason", () => {
  test.each<[object, string]>([
    [{ prompt: "a", chosen: "b", rejected: "b" }, "the two sides are the same"],
    [{ prompt: "a", chosen: " ", rejected: "b" }, "chosen: the answer is empty"],
    [{ instruction: "a", chosen: "b", rejected: "" }, "rejected: the response of turn 2 is empty"],
    [{ prompt: "a", chosen: 5, rejected: "b" }, "chosen is neither a text nor a list of turns"],
    [{ prompt: 7, chosen: "a", rejected: "b" }, "prompt is neither a text nor a list of turns"],
    [{ prompt: "a", chosen: "b", rejected: "c", margin: "much" }, "margin is not a number"],
    [{ prompt: "a", chosen: "b", rejected: "c", margin: Number.NaN }, "margin is not a number"],
    [{ prompt: "a", chosen: "b", rejected: "c", margin: [] }, "margin is not a number"],
    [{ prompt: "a", chosen: "b", rejected: "c", margin: true }, "margin is not a number"],
    [{ prompt: "a", completion: "b", label: [true] }, "label is [true], expected true or false"],
    [{ prompt: "a", completion: "b", label: null }, "label is null, expected true or false"],
    [{ info: { post: "a" }, summaries: [{ text: "a" }, { text: "b" }], choice: [] }, "choice is neither 0 nor 1"],
    [
      { chosen: [user("a"), assistant("b")], rejected: [user("c"), assistant("d")] },
      "the two sides do not begin with the same prompt",
    ],
    [{ chosen: [user("a"), assistant("b")], rejected: [user("a"), assistant("b")] }, "the two sides are the same"],
    [
      { chosen: "\n\nHuman: a\n\nAssistant: b", rejected: "\n\nHuman: a\n\nAssistant: " },
      "rejected: the response of turn 2 is empty",
    ],
    [{ chosen: [user("a"), assistant("b")], rejected: "c" }, "one side is a text, and the other turns"],
    [
      {
        chosen: [user("a"), assistant("b")],
        rejected: [user("a"), assistant("b"), user("c"), assistant("d")],
      },
      "one side is the beginning of the other",
    ],
    [{ messages: "a", label: true }, "messages: it is not a list of turns"],
    [{ prompt: "a", completion: "b", label: "maybe" }, 'label is "maybe", expected true or false'],
    [{ prompt: "a", completion: "", label: true }, "the answer is empty"],
    [{ messages: [user("a")], label: true }, "there is no answer"],
    [{ instruction: "a", completions: [{ response: "b", overall_score: 1 }] }, "no two answers differ in their score"],
    [{ info: {}, summaries: [{ text: "a" }, { text: "b" }], choice: 0 }, "info has neither a post nor an article"],
    [{ info: { post: "a" }, summaries: [{ text: "a" }, { text: "b" }], choice: 2 }, "choice is neither 0 nor 1"],
  ])("%o", (record, wanted) => {
    const { preferences, bad, read } = converted(record);
    expect([preferences.length, read]).toEqual([0, 1]);
    expect(bad[0]!.problem).toContain(wanted);
  });

  test("records that prefer nothing are refused by their fields", () => {
    expect(() => converted({ instruction: "a", output: "b" })).toThrow(
      "has the fields instruction, output, and says of no answer that it is better",
    );
  });

  const long = { prompt: "1 +", chosen: ` ${"2".repeat(20)}a`, rejected: ` ${"2".repeat(20)}b` };
  test("sides that become the same by the cut, and prompts that leave no room", async () => {
    const cut = await encodePreferences(converted(long), encoding({ tokens: 12 }));
    expect([...cut.report.skipped.values()][0]!.first.problem).toContain("the same once they are cut to 12 tokens");
    const full = await encodePreferences(converted(long), encoding({ tokens: 3 }));
    expect([...full.report.skipped.values()][0]!.first.problem).toContain("no answer begins within 3 tokens");
    const shorter = await encodePreferences(converted({ ...long, rejected: " 3" }), encoding({ tokens: 12 }));
    expect(shorter.report).toMatchObject({ used: 1, cut: 1, open: 1 });
    expect(shorter.pairs[0]!.chosen.ids).toHaveLength(12);
    await expect(encodePreferences(converted(long), encoding({ tokens: 12, strict: true }))).rejects.toThrow("row 1: ");
  });

  test("what is longer is left out where nothing may be cut", async () => {
    const { pairs, report } = await encodePreferences(
      converted({ ...long, rejected: " 3" }, { prompt: "1 +", chosen: " 2", rejected: " 3" }),
      encoding({ tokens: 12, overlong: "drop" }),
    );
    expect([pairs.length, report.used]).toEqual([1, 1]);
    expect([...report.skipped.values()][0]!.first.problem).toMatch(/chosen: it has \d+ tokens, and 12 are allowed/);
  });
});

describe("a stage", () => {
  const config = {
    format: "auto",
    template: "chat",
    trees: { lang: "", quality: 0 },
    subset: 0,
    strict: false,
    ranked: "all",
  } as const;
  async function context() {
    return await smallContext();
  }
  const written = (folder: string, records: readonly object[]) => {
    const path = join(folder, "data.jsonl");
    writeFileSync(path, records.map((record) => `${JSON.stringify(record)}\n`).join(""));
    return path;
  };
  test("holds out by prompts, and takes of pairs one good and one bad answer each", async () => {
    using folder = temporaryFolder();
    using own = await context();
    const records = Array.from({ length: 40 }, (_, i) => ({
      instruction: `q${i % 10}`,
      chosen: `a${i % 20}`,
      rejected: `b${i}`,
    }));
    const data = written(folder.path, records);
    const { train, held } = await readPairs({ ...config, data, validation: 0.3 }, own, 100, { overlong: "cut" });
    expect([train.length, held.length]).toEqual([28, 12]);
    const prompts = new Set(train.map(({ prompt }) => prompt));
    expect(held.some(({ prompt }) => prompts.has(prompt))).toBe(false);
    const judged = await readJudged({ ...config, data, validation: "none" }, own, 100);
    expect([judged.train.filter(({ good }) => good).length, judged.train.filter(({ good }) => !good).length]).toEqual([
      20, 40,
    ]);
  });
  test("that needs pairs refuses labels, and one that needs labels takes both", async () => {
    using folder = temporaryFolder();
    using own = await context();
    const data = written(folder.path, [
      { prompt: "a", completion: " b", label: true },
      { prompt: "c", completion: " d", label: false },
    ]);
    await expect(readPairs({ ...config, data, validation: "none" }, own, 100, { overlong: "cut" })).rejects.toThrow(
      "has answers with labels, and pairs of answers are wanted",
    );
    expect((await readJudged({ ...config, data, validation: "none" }, own, 100)).train.map(({ good }) => good)).toEqual(
      [true, false],
    );
  });
});

test("whatever two conversations have in common, prompt and answer are the whole on both sides", () => {
  let state = 7;
  const dice = (n: number) => {
    state = (state * 1103515245 + 12345) % 2147483648;
    // Its lower digits alternate.
    return (state >>> 16) % n;
  };
  let pairs = 0;
  for (let round = 0; round < 500; round++) {
    const talk = (): Message[] =>
      Array.from({ length: 2 * (1 + dice(3)) }, (_, i) => (i % 2 ? assistant(`a${dice(2)}`) : user(`u${dice(2)}`)));
    const [chosen, rejected] = [talk(), talk()];
    const sides = sidesOfWhole(chosen, rejected, () => {});
    if (typeof sides === "string") continue;
    pairs++;
    const prompt = JSON.parse(sides.prompt) as [string, string][];
    for (const [side, whole] of [
      [sides.chosen, chosen],
      [sides.rejected, rejected],
    ] as const) {
      expect(side.kind === "messages" && side.messages).toEqual(whole);
      expect(prompt).toEqual(whole.slice(0, prompt.length).map(({ role, content }) => [role, content]));
      expect(whole[prompt.length]!.role).toBe("assistant");
      // Answers of the prompt are not learned.
      if (side.kind === "messages")
        expect(side.unlearned ?? []).toEqual(prompt.flatMap(([role], at) => (role === "assistant" ? [at] : [])));
    }
  }
  expect(pairs).toBeGreaterThan(100);
});

test("whatever two texts have in common, prompt and answer are the whole on both sides", () => {
  for (const [chosen, rejected] of [
    ["a b c", "a b d"],
    ["a  b", "a  c"],
    ["ab cd", "ab ce f"],
    ["x", "y"],
    ["a b", "a"],
    ["a b", "a b c"],
    ["día é", "día e"],
  ] as const) {
    const sides = sidesOfText(chosen, rejected, () => {});
    if (typeof sides === "string") throw new Error(sides);
    for (const [side, whole] of [
      [sides.chosen, chosen],
      [sides.rejected, rejected],
    ] as const)
      expect(side.kind === "completion" && [side.prompt + side.completion, side.completion.trim() !== ""]).toEqual([
        whole,
        true,
      ]);
  }
});
