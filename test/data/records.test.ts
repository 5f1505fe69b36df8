/** Data files: every kind read, every format recognised and converted, and what is broken told by its place. */
import { describe, expect, test } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { encodeSamples } from "../../src/data/examples";
import { convert, type Format, formats, recognise } from "../../src/data/formats";
import { pathsOf } from "../../src/data/oasst";
import { reportLines } from "../../src/data/report";
import { readRows } from "../../src/data/rows";
import { loadSamples } from "../../src/data/samples";
import { showExample } from "../../src/data/show";
import type { UserError } from "../../src/errors";
import { trainBpe } from "../../src/text/bpe";
import { builtIn, chatTemplate } from "../../src/text/template";
import { tokenizerFrom } from "../../src/text/tokenizer";
import { temporaryFolder } from "../support/folder";

const trees = { paths: "best", lang: "", quality: 0 } as const;
const row = (fields: object) => ({ fields: fields as Record<string, unknown>, where: "file:1" });

async function read(name: string, content: string | Uint8Array) {
  using folder = temporaryFolder();
  const path = join(folder.path, name);
  writeFileSync(path, content);
  const { rows, bad } = await readRows(path);
  const short = (where: string) => where.replace(`${folder.path}/`, "");
  return {
    rows: rows.map(({ fields, where }) => ({ fields, where: short(where) })),
    bad: bad.map(({ where, problem }) => `${short(where)}: ${problem}`),
  };
}

async function refusal(name: string, content: string | Uint8Array): Promise<string> {
  const error = (await read(name, content).then(
    () => null,
    (error: unknown) => error,
  )) as UserError | null;
  return `${error?.message.replace(/\/\S*\//, "")}`;
}

describe("reading", () => {
  const a = { instruction: 'say "hi",\nplease', output: "hi" };
  test("JSON Lines, plain and gzipped, by line", async () => {
    const lines = `${JSON.stringify(a)}\n\n${JSON.stringify(a)}\n`;
    const { rows, bad } = await read("x.jsonl", lines);
    expect(rows).toEqual([
      { fields: a, where: "x.jsonl:1" },
      { fields: a, where: "x.jsonl:3" },
    ]);
    expect(bad).toEqual([]);
    expect((await read("x.jsonl.gz", gzipSync(lines))).rows).toHaveLength(2);
  });
  test("a JSON array", async () => {
    expect((await read("x.json", JSON.stringify([a, 3], null, 2))).rows).toEqual([
      { fields: a, where: "x.json, record 1" },
    ]);
    expect((await read("x.json", JSON.stringify([a, 3]))).bad).toEqual(["x.json, record 2: expected an object, got 3"]);
  });
  test("CSV with quotes, commas and line ends inside", async () => {
    const { rows } = await read("x.csv", '\ufeffinstruction,output\n"say ""hi"",\nplease",hi\nb,c\n');
    expect(rows.map(({ fields }) => fields)).toEqual([a, { instruction: "b", output: "c" }]);
  });
  test("text files by document", async () => {
    expect((await read("x.txt", "one\n<|endoftext|>\ntwo\n<|endoftext|>")).rows.map(({ fields }) => fields)).toEqual([
      { text: "one" },
      { text: "two" },
    ]);
  });
  test.each(["snappy", "zstd", "gzip"])("Parquet, compressed by %s", async (compression) => {
    const { rows } = await read("x.parquet", readFileSync(`test/golden/messages-${compression}.parquet`));
    expect(rows).toHaveLength(300);
    expect(rows[299]!.fields).toEqual({
      prompt: "p299",
      messages: [
        { role: "user", content: "question 299" },
        { role: "assistant", content: "answer 299" },
      ],
      score: 299,
      big: 2 ** 40 + 299,
    });
    expect(recognise(rows)).toBe("messages");
  });
});

describe("a file that is broken", () => {
  test("is told by file and line", async () => {
    expect((await read("x.jsonl", '{"text": "a"}\n{"text": \n[1]\n')).bad).toEqual([
      "x.jsonl:2: broken JSON: Unexpected EOF",
      "x.jsonl:3: expected an object, got a list of 1",
    ]);
    expect(await refusal("x.json", '[\n{"text": "a"},\n{"text" "b"}\n]')).toMatch(/^x\.json:3: broken JSON: /);
    expect(await refusal("x.json", '[\n{"text": "a"},\n')).toMatch(/^x\.json:\d: broken JSON: /);
    expect(await refusal("x.csv", 'a,b\n1,2\n"1,2\n')).toMatch(/^x\.csv(:\d+)?: broken CSV: /);
    expect(await refusal("x.parquet", "PAR1nonsensePAR1")).toMatch(/^x\.parquet cannot be read as Parquet/);
    expect(await refusal("x.jsonl.gz", "not gzip")).toMatch(/^x\.jsonl\.gz is not whole gzip data/);
    expect(await refusal("x.jsonl", new Uint8Array([0xff, 0xfe, 0x80]))).toMatch(/UTF-16/);
    expect(await refusal("x.jsonl", " \n")).toMatch(/is empty$/);
    expect(await refusal("x.docx", "a")).toMatch(/records are read from \.json/);
  });
  test("or missing", async () => {
    await expect(readRows("no/such.jsonl")).rejects.toThrow("no/such.jsonl cannot be read: there is no such file");
  });
});

const user = (content: string) => ({ role: "user", content });
const assistant = (content: string) => ({ role: "assistant", content });
const root = {
  text: "q",
  role: "prompter",
  lang: "en",
  replies: [
    { text: "second", role: "assistant", lang: "en", rank: 1, replies: [] },
    {
      text: "best",
      role: "assistant",
      lang: "en",
      rank: 0,
      labels: { quality: { value: 0.75, count: 2 } },
      replies: [
        {
          text: "more?",
          role: "prompter",
          lang: "en",
          replies: [{ text: "more!", role: "assistant", lang: "de", rank: null, replies: [] }],
        },
      ],
    },
  ],
};

describe("formats", () => {
  const cases: [Format, object, object][] = [
    [
      "alpaca",
      { instruction: "i", input: "", output: "o", text: "x" },
      { kind: "messages", messages: [user("i"), assistant("o")], unread: ["text"] },
    ],
    [
      "alpaca",
      { instruction: "i", input: "in", output: "o" },
      { kind: "messages", messages: [{ ...user("i\n\nin"), instruction: "i", input: "in" }, assistant("o")] },
    ],
    ["instruction", { instruction: "i", response: "r" }, { kind: "messages", messages: [user("i"), assistant("r")] }],
    ["completion", { prompt: "p", completion: " c" }, { kind: "completion", prompt: "p", completion: " c" }],
    [
      "instruction",
      { instruction: "i", context: "c", response: "r", category: "x" },
      {
        kind: "messages",
        messages: [{ ...user("i\n\nc"), instruction: "i", input: "c" }, assistant("r")],
        unread: ["category"],
      },
    ],
    [
      "completion",
      { prompt: [user("a"), assistant("b"), user("c")], completion: [assistant("d")] },
      { kind: "messages", messages: [user("a"), assistant("b"), user("c"), assistant("d")], unlearned: [1] },
    ],
    ["question", { question: "q", answer: "a" }, { kind: "messages", messages: [user("q"), assistant("a")] }],
    [
      "messages",
      { messages: [user("a"), assistant("b")] },
      { kind: "messages", messages: [user("a"), assistant("b")] },
    ],
    [
      "messages",
      { messages: [{ role: "user", content: [{ type: "text", text: "a" }] }, assistant("b")] },
      { kind: "messages", messages: [user("a"), assistant("b")] },
    ],
    [
      "sharegpt",
      {
        conversations: [
          { from: "system", value: "s" },
          { from: "human", value: "a" },
          { from: "gpt", value: "b" },
          { from: "human", value: "c" },
        ],
      },
      {
        kind: "messages",
        messages: [{ role: "system", content: "s" }, user("a"), assistant("b")],
        unread: ["a last question without an answer"],
      },
    ],
    [
      "oasst",
      { message_tree_id: "1", prompt: root },
      { kind: "messages", messages: [user("q"), assistant("best"), user("more?"), assistant("more!")] },
    ],
    ["text", { text: "t" }, { kind: "text", text: "t" }],
  ];
  test.each(cases)("%s is recognised and converted", (format, fields, sample) => {
    expect(recognise([row(fields)])).toBe(format);
    expect(convert([row(fields)], format, trees).samples).toEqual([{ ...sample, where: "file:1" } as never]);
  });
  test("flat message tables become trees", () => {
    const message = (id: string, parent: string | null, more: object) =>
      row({ message_id: id, parent_id: parent, lang: "en", rank: null, ...more });
    const rows = [
      message("b", "a", { role: "assistant", text: "worse", rank: 1 }),
      message("a", null, { role: "prompter", text: "q" }),
      message("c", "a", { role: "assistant", text: "better", rank: 0 }),
      message("d", "gone", { role: "assistant", text: "orphan" }),
    ];
    expect(recognise(rows)).toBe("oasst-messages");
    const { samples, read, bad } = convert(rows, "oasst-messages", trees);
    expect(samples).toMatchObject([{ messages: [user("q"), assistant("better")] }]);
    expect([read, bad]).toEqual([2, [{ where: "file:1", problem: "the message that it answers is missing" }]]);
  });
  test("every format is one that can be forced", () => {
    expect(new Set(cases.map(([format]) => format)).size).toBe(formats.length - 1);
  });
});

describe("records that cannot be used", () => {
  const problem = (format: Format, fields: object) =>
    convert([row(fields)], format, trees).bad.map(({ problem }) => problem)[0];
  test.each([
    ["alpaca", { instruction: "i", outptu: "o" }, "output is missing; is it outptu? (it has instruction, outptu)"],
    ["alpaca", { instruction: "i", output: " " }, "the response of turn 2 is empty"],
    ["alpaca", { instruction: "i", output: 3 }, "output is not a text (it has instruction, output)"],
    ["completion", { prompt: "p", completion: "" }, "the completion is empty"],
    ["messages", { messages: "x" }, "messages is not a list"],
    [
      "messages",
      { messages: [user("a"), user("b"), assistant("c")] },
      "roles are out of order: turn 2 is the user's, expected the assistant's",
    ],
    [
      "messages",
      { messages: [assistant("a")] },
      "roles are out of order: turn 1 is the assistant's, expected the user's",
    ],
    ["messages", { messages: [user("a")] }, "there is no answer"],
    [
      "messages",
      { messages: [{ role: "robot", content: "a" }] },
      'turn 1 has the role "robot", expected system, user or assistant',
    ],
    ["messages", { messages: [user("a"), { role: "assistant" }] }, "turn 2 has no text"],
    ["messages", { messages: [{ role: "user", content: [{ type: "image" }] }] }, "turn 1 has no text"],
    ["text", { text: "  " }, "the text is empty"],
  ] as [Format, object, string][])("%s %j", (format, fields, wanted) => {
    expect(problem(format, fields)).toBe(wanted);
  });
  test("fields of no known format are named, with what was meant", () => {
    const thrown = (fields: object) => {
      try {
        recognise([row(fields)]);
      } catch (error) {
        return error as UserError;
      }
      return null;
    };
    expect(thrown({ instructon: "a", result: "b" })!.message).toBe(
      "file:1 has the fields instructon, result, which is no known format",
    );
    expect(thrown({ instructon: "a", result: "b" })!.hint).toBe("did you mean instruction?");
  });
  test("an instruction without words asks nothing, but for its input", () => {
    const found = (fields: Record<string, unknown>) => convert([row(fields)], "alpaca", trees);
    expect(found({ instruction: " ", output: "b" }).bad[0]!.problem).toBe("the instruction is empty");
    expect(found({ instruction: "", input: "a", output: "b" }).samples).toHaveLength(1);
  });
  test("strict stops at the first, with its place; else they are counted", async () => {
    using folder = temporaryFolder();
    const path = join(folder.path, "x.jsonl");
    writeFileSync(path, '{"prompt":"p","completion":"c"}\n{"prompt":"p"}\nbroken\n');
    const loaded = await loadSamples(path, { trees, strict: false });
    expect([loaded.read, loaded.samples.length, loaded.bad.length]).toEqual([3, 1, 2]);
    await expect(loadSamples(path, { trees, strict: true })).rejects.toThrow(/x\.jsonl:3: broken JSON/);
    await expect(loadSamples(path, { trees, strict: false, format: "text" })).rejects.toThrow(
      /no record that can be used as text/,
    );
  });
});

describe("message trees", () => {
  const texts = (options: object) =>
    pathsOf(root, { ...trees, ...options }).paths.map((path) => path.map(({ content }) => content));
  test("the best path, and all", () => {
    expect(texts({})).toEqual([["q", "best", "more?", "more!"]]);
    expect(texts({ paths: "all" })).toEqual([
      ["q", "best", "more?", "more!"],
      ["q", "second"],
    ]);
  });
  test("filtered by language and quality, a path ends with the last answer that passes", () => {
    expect(texts({ lang: "en" })).toEqual([["q", "best"]]);
    expect(texts({ quality: 0.9 })).toEqual([["q", "second"]]);
    expect(texts({ quality: 0.75 })).toEqual(texts({}));
    expect(texts({ lang: "fr" })).toEqual([]);
  });
  test("what was deleted or rejected is left out", () => {
    const [second, best] = root.replies;
    const spoiled = { ...root, replies: [second, { ...best, deleted: true }] };
    expect(pathsOf(spoiled, trees).paths.map((path) => path.at(-1)!.content)).toEqual(["second"]);
    expect(pathsOf({ ...root, review_result: false }, trees).paths).toEqual([]);
  });
  test("an unknown language is refused with those that there are", () => {
    const rows = [row({ message_tree_id: "1", prompt: root })];
    expect(() => convert(rows, "oasst", { ...trees, lang: "xx" })).toThrow('no message is in "xx"');
    expect(() => convert(rows, "oasst", { ...trees, lang: "en" })).not.toThrow();
  });
});

describe("trees that are broken", () => {
  const message = (role: string, text: unknown, replies?: unknown) => ({ role, text, replies });
  const found = (prompt: unknown, options: object = {}) => {
    const { samples, bad } = convert([row({ message_tree_id: "1", prompt })], "oasst", { ...trees, ...options });
    const texts = samples.map((sample) => (sample as unknown as { messages: { content: string }[] }).messages);
    return [texts.map((messages) => messages.map(({ content }) => content)), bad.map(({ problem }) => problem)];
  };
  const left = "and is left out with what follows it";
  const good = message("assistant", "a", [message("prompter", "b", [message("assistant", "c")])]);
  test.each([
    [null, [], ["prompt is not a message"]],
    [[], [], ["prompt is not a message"]],
    [message("prompter", null, [good]), [], [`a message has no text, ${left}`]],
    [{ role: "prompter", replies: [good] }, [], [`a message has no text, ${left}`]],
    [message("prompter", "q", null), [], ["no answer passes the filter"]],
    [message("prompter", "q", "none"), [], ["no answer passes the filter"]],
    [message("prompter", "q", [null, good]), [["q", "a", "b", "c"]], [`a reply is no message, ${left}`]],
    [
      message("prompter", "q", [message("assistant", "a", [null, 3, []])]),
      [["q", "a"]],
      [`a reply is no message, ${left}`],
    ],
    [
      message("prompter", "q", [message("assistant", null, [good]), good]),
      [["q", "a", "b", "c"]],
      [`a message has no text, ${left}`],
    ],
    [
      message("prompter", "q", [message("assistant", "a", [message("prompter", "b", [message("assistant", " ")])])]),
      [["q", "a"]],
      [`a message has no text, ${left}`],
    ],
    [
      message("prompter", "q", [message("system", "s", [good]), message("constructor", "s"), good]),
      [["q", "a", "b", "c"]],
      [`a message is neither the prompter's nor the assistant's, ${left}`],
    ],
    [message("prompter", "q", [{ ...message("assistant", null), deleted: true }, good]), [["q", "a", "b", "c"]], []],
  ])("%j", (prompt, texts, problems) => {
    for (const paths of ["best", "all"]) expect(found(prompt, { paths })).toEqual([texts, problems]);
    expect(() => found(prompt, { lang: "xx" })).toThrow('no message is in "xx"');
  });
  test("or nested as deep as nobody talks, are told", async () => {
    const deep = (levels: number) => {
      const turn = (i: number) => `{"role":"${i % 2 ? "assistant" : "prompter"}","text":"t","replies":[`;
      const turns = Array.from({ length: levels }, (_, i) => turn(i)).join("");
      return `{"message_tree_id":"1","prompt":${turns}${"]}".repeat(levels)}}`;
    };
    using folder = temporaryFolder();
    const path = join(folder.path, "x.jsonl");
    writeFileSync(path, `${deep(20_000)}\n${deep(400)}\n`);
    const { samples, bad } = await loadSamples(path, { trees: { ...trees, paths: "all" }, strict: false, name: "x" });
    expect(bad).toEqual([{ where: "x:1", problem: "it is nested more than 1000 levels deep" }]);
    expect((samples[0] as unknown as { messages: unknown[] }).messages).toHaveLength(400);
  });
});

describe("tables of messages", () => {
  const table = async (name: string, content: string) => {
    using folder = temporaryFolder();
    const path = join(folder.path, name);
    writeFileSync(path, content);
    const loaded = await loadSamples(path, { trees, strict: false, name });
    const texts = loaded.samples.map((sample) => (sample as unknown as { messages: { content: string }[] }).messages);
    return { ...loaded, texts: texts.map((messages) => messages.map(({ content }) => content)) };
  };
  test("as CSV have no parent as an empty cell, booleans as words, ranks and labels as text", async () => {
    const { format, texts, bad } = await table(
      "x.csv",
      [
        "message_id,parent_id,role,text,deleted,review_result,rank,labels",
        "1,,prompter,q,False,True,,",
        "2,1,assistant,deleted,True,True,0,",
        "3,1,assistant,rejected,false,FALSE,0.0,",
        "4,1,assistant,worse,False,True,10.0,",
        '5,1,assistant,best,False,,9.0,"{""quality"": {""value"": 0.5}}"',
        "6,1,assistant,unranked,False,True,,",
        "7,0,assistant,orphan,False,True,,",
      ].join("\n"),
    );
    expect([format, texts]).toEqual(["oasst-messages", [["q", "best"]]]);
    expect(bad).toEqual([{ where: "x.csv:8", problem: "the message that it answers is missing" }]);
  });
  test("and trees as CSV have theirs as JSON", async () => {
    const tree = JSON.stringify({ role: "prompter", text: "q", replies: [{ role: "assistant", text: "a" }] });
    const { format, texts, bad } = await table(
      "x.csv",
      `message_tree_id,prompt\n1,"${tree.replaceAll('"', '""')}"\n2,broken\n`,
    );
    expect([format, texts]).toEqual(["oasst", [["q", "a"]]]);
    expect(bad).toEqual([{ where: "x.csv:3", problem: "prompt is not a message" }]);
  });
  test("that are no trees are told by what is wrong with each message", async () => {
    const line = ([message_id, parent_id]: readonly unknown[], i: number) =>
      JSON.stringify({ message_id, parent_id, role: i % 2 ? "assistant" : "prompter", text: `t${i}` });
    const ids = [
      ["a", null],
      ["b", "a"],
      ["own", "own"],
      ["x", "y"],
      ["y", "x"],
      ["z", "x"],
      ["o", "gone"],
      ["p", "o"],
    ];
    const { texts, bad } = await table("x.jsonl", [...ids, ["b", "a"], [null, "a"]].map(line).join("\n"));
    expect(texts).toEqual([["t0", "t1"]]);
    const [circle, missing] = [
      "the messages that it answers lead back to itself",
      "the message that it answers is missing",
    ];
    expect(bad.map(({ problem }) => problem)).toEqual([
      ...[circle, circle, circle, circle, missing, missing],
      ...["another message has its message_id", "message_id is missing"],
    ]);
  });
  test("may be a thread of 20,000", async () => {
    const lines = Array.from({ length: 20_000 }, (_, i) => {
      const parent_id = i === 0 ? null : String(i - 1);
      return JSON.stringify({ message_id: String(i), parent_id, role: i % 2 ? "assistant" : "prompter", text: "t" });
    });
    expect((await table("x.jsonl", lines.join("\n"))).texts[0]).toHaveLength(20_000);
  });
});

describe("what becomes of the records", () => {
  const tokenizer = tokenizerFrom(trainBpe([], { size: 257 }));
  const template = chatTemplate(builtIn.chat!, tokenizer);
  const encoded = async (records: readonly object[]) => {
    using folder = temporaryFolder();
    const path = join(folder.path, "x.jsonl");
    writeFileSync(path, records.map((record) => `${JSON.stringify(record)}\n`).join(""));
    const loaded = await loadSamples(path, { trees, strict: false, name: "x.jsonl" });
    return { ...encodeSamples(loaded, { tokenizer, template, tokens: 1000, cut: "open", strict: false }), loaded };
  };
  test("is told by reason, the first of each in full", async () => {
    const turns = (role: string) => ({ messages: [user("a"), { role, content: "b" }] });
    const { report } = await encoded([turns("assistant"), turns("robot"), turns("asistant"), { messages: 3 }]);
    expect(reportLines(report, "x.jsonl")).toEqual([
      "x.jsonl: 4 records read, 1 examples, 3 skipped",
      '  skipped 2: first x.jsonl:2: turn 2 has the role "robot", expected system, user or assistant',
      "  skipped 1: x.jsonl:4: messages is not a list",
    ]);
  });
  test("fields that nobody reads are named", async () => {
    const record = { instruction: "a", context: "b", response: "c", category: "d" };
    const { report } = await encoded([record, { ...record, category: "", id: 3 }, record]);
    expect(reportLines(report, "x.jsonl")).toEqual([
      "x.jsonl: 3 records read, 3 examples",
      "  not read: category (in 2, first x.jsonl:1); id (in 1, first x.jsonl:2)",
    ]);
  });
  test("of a conversation as prompt and completion only the completion is learned", async () => {
    const { examples } = await encoded([
      { prompt: [user("a"), assistant("b"), user("c")], completion: [assistant("d"), user("e"), assistant("f")] },
    ]);
    expect(showExample(examples[0]!, tokenizer, { colour: false })).toBe(
      "User: a\nAssistant: b<|endoftext|>\nUser: c\nAssistant:« d<|endoftext|>»\nUser: e\nAssistant:« f<|endoftext|>»",
    );
  });
});

test("an input of nothing but white space is none, and the context goes before it", () => {
  const given = (fields: object) =>
    convert([row({ ...fields, instruction: "a", output: "b" })], "alpaca", trees).samples[0];
  expect(given({ input: " \n" })).toEqual(given({}));
  expect(given({ input: " ", context: "c" })).toEqual(given({ context: "c" }));
});
