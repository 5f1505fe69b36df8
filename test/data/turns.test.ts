/** What is made of turns: who is told what, which answers bear loss, and what is said besides and not read. */
import { describe, expect, test } from "bun:test";
import { encodeSamples } from "../../src/data/examples";
import { convert, type Format } from "../../src/data/formats";
import { reportLines } from "../../src/data/report";
import { showExample } from "../../src/data/show";
import { trainBpe } from "../../src/text/bpe";
import { builtIn, chatTemplate } from "../../src/text/template";
import { tokenizerFrom } from "../../src/text/tokenizer";

const tokenizer = tokenizerFrom(trainBpe([], { size: 257 }));
const user = (content: string, more: object = {}) => ({ role: "user", content, ...more });
const assistant = (content: string, more: object = {}) => ({ role: "assistant", content, ...more });
const system = (content: string) => ({ role: "system", content });

/** A record as the model sees it, and what is told of it. */
function seen(
  format: Format,
  record: object,
  { template = "chat", tokens = 1000, cut = "open" as "open" | "ended" } = {},
) {
  const rows = [{ fields: record as Record<string, unknown>, where: "file:1" }];
  const converted = convert(rows, format, { paths: "best", lang: "", quality: 0 });
  const chat = chatTemplate(builtIn[template]!, tokenizer);
  const options = { tokenizer, template: chat, tokens, cut, strict: false } as const;
  const { examples, report } = encodeSamples({ format, ...converted }, options);
  const [first] = examples;
  return {
    text: first ? showExample(first, tokenizer, { colour: false }) : null,
    told: reportLines(report, "file").map((line) => line.trim()),
  };
}

const END = "<|endoftext|>";
const one = "file: 1 records read, 1 examples";

test("what OpenAI calls the developer is the system, and its parts of text are text", () => {
  const record = {
    messages: [
      { role: "developer", content: "Be brief." },
      { role: "user", content: [{ type: "input_text", text: "a" }] },
      { role: "assistant", content: [{ type: "output_text", text: "b" }] },
    ],
  };
  expect(seen("messages", record)).toEqual({
    text: `Be brief.\n\nUser: a\nAssistant:« b${END}»`,
    told: [one],
  });
});

describe("Alpaca's system and history are turns", () => {
  test("of every template", () => {
    const record = {
      system: "Be brief.",
      history: [
        ["a", "b"],
        ["c", "d"],
      ],
      instruction: "e",
      input: "f",
      output: "g",
    };
    expect(seen("alpaca", record)).toEqual({
      text: `Be brief.\n\nUser: a\nAssistant:« b${END}»\nUser: c\nAssistant:« d${END}»\nUser: e\n\nf\nAssistant:« g${END}»`,
      told: [one],
    });
    expect(seen("alpaca", record, { template: "alpaca" }).text).toBe(
      `Be brief.\n\n### Instruction:\na\n\n### Response:«b${END}»\n\n### Instruction:\nc\n\n### Response:«d${END}»\n\n### Instruction:\ne\n\n### Input:\nf\n\n### Response:«g${END}»`,
    );
  });
  test("where they are empty there are none", () => {
    for (const none of ["", null, []])
      expect(seen("instruction", { system: none, history: none, instruction: "a", response: "b" })).toEqual({
        text: `User: a\nAssistant:« b${END}»`,
        told: [one],
      });
  });
  test("what is neither is a reason to skip the record", () => {
    const record = { instruction: "a", output: "b" };
    const pairs = "history is not a list of pairs, a question and its answer each";
    for (const history of ["x", [["a"]], [["a", 1]], [{ a: "b" }], { a: 1 }])
      expect(seen("alpaca", { ...record, history }).told).toContain(`skipped 1: file:1: ${pairs}`);
    expect(seen("alpaca", { ...record, system: ["x"] }).told).toContain("skipped 1: file:1: system is not a text");
  });
});

describe("a system text beside the turns", () => {
  const turns = [user("a"), assistant("b")];
  test.each([
    ["messages", { system: "s", messages: turns }],
    [
      "sharegpt",
      {
        system: "s",
        conversations: [
          { from: "human", value: "a" },
          { from: "gpt", value: "b" },
        ],
      },
    ],
    ["question", { system: "s", question: "a", answer: "b" }],
  ] as [Format, object][])("%s", (format, record) => {
    expect(seen(format, record)).toEqual({ text: `s\n\nUser: a\nAssistant:« b${END}»`, told: [one] });
  });
  test("is told where there is a system turn of other words", () => {
    const record = { system: "s", messages: [system("t"), ...turns] };
    expect(seen("messages", record)).toEqual({
      text: `t\n\nUser: a\nAssistant:« b${END}»`,
      told: [one, "not read: system, beside a system turn (in 1, first file:1)"],
    });
    expect(seen("messages", { ...record, system: "t" }).told).toEqual([one]);
  });
});

describe("weight 0 and train false bear no loss", () => {
  test.each([[{ weight: 0 }], [{ train: false }], [{ weight: 1, train: false }]])("%j", (more) => {
    const record = {
      messages: [user("a"), assistant("b", more), user("c"), assistant("d", { weight: 1, train: true })],
    };
    expect(seen("messages", record)).toEqual({
      text: `User: a\nAssistant: b${END}\nUser: c\nAssistant:« d${END}»`,
      told: [one],
    });
    const conversations = record.messages.map(({ role, content, ...rest }) => ({
      from: role,
      value: content,
      ...rest,
    }));
    expect(seen("sharegpt", { system: "s", conversations }).text).toBe(
      `s\n\nUser: a\nAssistant: b${END}\nUser: c\nAssistant:« d${END}»`,
    );
  });
  test("where no answer is left the record is skipped", () => {
    expect(seen("messages", { messages: [user("a"), assistant("b", { weight: 0 })] })).toEqual({
      text: null,
      told: ["file: 1 records read, 0 examples, 1 skipped", "skipped 1: file:1: nothing of it is to be learned"],
    });
  });
  test("also in the completion of a conversation, whose prompt bears none anyway", () => {
    const record = {
      prompt: [user("a"), assistant("b"), user("c")],
      completion: [assistant("d", { train: false }), user("e"), assistant("f")],
    };
    expect(seen("completion", record).text).toBe(
      `User: a\nAssistant: b${END}\nUser: c\nAssistant: d${END}\nUser: e\nAssistant:« f${END}»`,
    );
  });
});

test("what is said besides and not read is told and counted", () => {
  const told = (format: Format, record: object) => seen(format, record).told.slice(1);
  const whole = (...names: string[]) => [`not read: ${names.map((name) => `${name} (in 1, first file:1)`).join("; ")}`];
  const messages = [user("a", { weight: 0, name: "" }), assistant("b", { tool_calls: [], weight: null })];
  expect(told("messages", { messages, id: null, tools: [], notes: " " })).toEqual([]);
  expect(
    told("messages", {
      messages: [user("a"), assistant("b", { tool_calls: [{ id: "1" }], name: "x" })],
      functions: ["f"],
    }),
  ).toEqual(whole("functions", "tool_calls of a turn", "name of a turn"));
  expect(told("messages", { messages: [user("a", { train: true }), assistant("b", { weight: 0.5 })] })).toEqual(
    whole("train of a turn that is not the assistant's", "weight of a turn, other than 0 and 1"),
  );
  expect(told("messages", { messages: [user("a", { weight: 1 }), assistant("b", { train: "false" })] })).toEqual(
    whole("weight of a turn that is not the assistant's", "train of a turn, other than true and false"),
  );
  expect(told("alpaca", { instruction: "a", input: "b", context: "c", output: "d" })).toEqual(
    whole("context, beside input"),
  );
  expect(told("alpaca", { instruction: "a", input: "", context: "c", output: "d" })).toEqual([]);
  expect(told("completion", { prompt: "a", completion: "b", system: "c" })).toEqual(whole("system"));
  expect(
    told("sharegpt", {
      conversations: [
        { from: "human", value: "a" },
        { from: "gpt", value: "b", content: "c" },
      ],
    }),
  ).toEqual(whole("content of a turn"));
});

describe("an answer that does not end within its row", () => {
  const record = { messages: [user("a"), assistant("one two three four")] };
  // "User: a\nAssistant:" is 18 bytes, each a token.
  test("is left open, and counted", () => {
    expect(seen("messages", record, { tokens: 26 })).toEqual({
      text: "User: a\nAssistant:« one two»",
      told: ["file: 1 records read, 1 examples, 1 cut by 12 tokens in all, 1 answers left open"],
    });
    expect(seen("completion", { prompt: "p", completion: "one two" }, { tokens: 4 }).text).toBe("p«one»");
    expect(seen("text", { text: "one two" }, { tokens: 3 }).text).toBe("o«ne»");
  });
  test("or ended, where that is wanted", () => {
    expect(seen("messages", record, { tokens: 26, cut: "ended" })).toEqual({
      text: `User: a\nAssistant:« one tw${END}»`,
      told: ["file: 1 records read, 1 examples, 1 cut by 12 tokens in all"],
    });
  });
  test("one that ends with it is whole", () => {
    const talk = { messages: [...record.messages, user("b"), assistant("c")] };
    expect(seen("messages", talk, { tokens: 38 })).toEqual({
      text: `User: a\nAssistant:« one two three four${END}»`,
      told: ["file: 1 records read, 1 examples, 1 cut by 22 tokens in all"],
    });
  });
});
