/** Chat templates: what transformers renders and marks (test/golden/templates.py), and what nobody may write into a prompt. */
import { describe, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { answerReader } from "../../src/text/answer";
import { trainBpe } from "../../src/text/bpe";
import { builtIn, chatTemplate, type Message, savedTemplate } from "../../src/text/template";
import { loadTokenizer, type Tokenizer, tokenizerFrom, writeTokenizer } from "../../src/text/tokenizer";
import golden from "../golden/templates.json";
import { temporaryFolder } from "../support/folder";

const tokenizer = tokenizerFrom(trainBpe(["a few words to learn from. User: Assistant: ### Response:"], { size: 300 }));
const cases = golden as unknown as {
  readonly name: string;
  readonly template: string;
  readonly messages: Message[];
  readonly text: string;
  readonly spans: [number, number][];
  readonly prompt: string;
}[];

/** The text of what is trained, run by run. */
function trainedRuns({
  ids,
  trained,
}: {
  readonly ids: readonly number[];
  readonly trained: readonly boolean[];
}): string[] {
  const runs: number[][] = [];
  ids.forEach((id, i) => {
    if (!trained[i]) return;
    if (!trained[i - 1]) runs.push([]);
    runs.at(-1)!.push(id);
  });
  return runs.map((run) => tokenizer.decode(run));
}

describe.each(cases)("%#: $name", ({ template, messages, text, spans, prompt }) => {
  const chat = chatTemplate(template, tokenizer);
  test("renders the text that transformers renders", () => {
    expect(tokenizer.decode(chat.encode(messages).ids)).toBe(text);
  });
  test("trains what transformers marks as the assistant's", () => {
    expect(trainedRuns(chat.encode(messages))).toEqual(spans.map(([from, to]) => text.slice(from, to)));
  });
  test("the prompt is the beginning of the whole, token by token, up to where the assistant speaks", () => {
    const ids = chat.prompt(messages.slice(0, -1));
    expect(tokenizer.decode(ids)).toBe(prompt);
    const whole = chat.encode(messages);
    const end = whole.trained.lastIndexOf(true);
    let first = end;
    while (whole.trained[first - 1]) first--;
    // What a template puts between the prompt and the mark is the assistant's in form, though not trained.
    expect(whole.ids.slice(0, Math.min(ids.length, first))).toEqual(ids.slice(0, Math.min(ids.length, first)));
  });
  test("without marks the same turns are found, where earlier ones do not change", () => {
    const unmarked = chatTemplate(template.replace(/{%-?\s*(end)?generation\s*-?%}/g, ""), tokenizer);
    const found = trainedRuns(unmarked.encode(messages));
    const contents = messages.filter(({ role }) => role === "assistant").map(({ content }) => content);
    expect(found).toHaveLength(contents.length);
    contents.forEach((content, i) => {
      expect(found[i]).toContain(content);
    });
  });
});

describe.each([
  [
    "zephyr",
    "{% for m in messages %}\n{{ '<|' + m['role'] + '|>\n' + m['content'] + eos_token }}\n{% endfor %}\n{% if add_generation_prompt %}\n{{ '<|assistant|>\n' }}{% endif %}",
    ["two<|endoftext|>", "four<|endoftext|>"],
  ],
  [
    "gemma",
    "{{ bos_token }}{% for m in messages %}{{ '<start_of_turn>' + ('model' if m.role == 'assistant' else m.role) + '\n' + m.content | trim + '<end_of_turn>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}",
    ["two<end_of_turn>", "four<end_of_turn>"],
  ],
])("a template without marks, in the manner of %s", (_name, template, wanted) => {
  test("trains each answer and its end, and no line end behind it", () => {
    const messages: Message[] = ["one", "two", "three", "four"].map((content, i) => ({
      role: i % 2 ? "assistant" : "user",
      content,
    }));
    expect(trainedRuns(chatTemplate(template, tokenizer).encode(messages))).toEqual(wanted);
  });
});

const chat = chatTemplate(builtIn.chat!, tokenizer);
const end = tokenizer.endOfText!;

describe("the end of an answer", () => {
  test.each(Object.keys(builtIn))("%s trains the end token of every answer, and no other", (name) => {
    const messages: Message[] = [
      { role: "user", content: "one" },
      { role: "assistant", content: "two" },
      { role: "user", content: "three" },
      { role: "assistant", content: "four" },
    ];
    const { ids, trained } = chatTemplate(builtIn[name]!, tokenizer).encode(messages);
    const places = ids.flatMap((id, i) => (id === end ? [i] : []));
    expect(places).toHaveLength(2);
    expect(places.every((i) => trained[i])).toBe(true);
  });
});

describe("where an answer ends", () => {
  const CHATML =
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";
  const OPEN = "{% for m in messages %}{{ m.content + '\n' }}{% endfor %}";
  const { tokenizer: file, config } = tokenizer.files;
  const added = [
    ...(file.added_tokens as object[]),
    ...["<|im_start|>", "<|im_end|>"].map((content, i) => ({
      id: tokenizer.size + i,
      content,
      single_word: false,
      lstrip: false,
      rstrip: false,
      normalized: false,
      special: true,
    })),
  ];
  const withTokens = tokenizerFrom({ tokenizer: { ...file, added_tokens: added }, config });
  const answered = (reader: Tokenizer, template: string, text: string) => {
    const chat = chatTemplate(template, reader);
    const answer = answerReader(reader, chat, []);
    const ids = reader.encode(text, { special: true });
    const took = ids.findIndex((id) => answer.push(id)) + 1;
    return { end: chat.end, text: answer.text(), ended: answer.ended, left: reader.decode(ids.slice(took)) };
  };
  test.each(Object.keys(builtIn))("%s: with the end-of-text token", (name) => {
    expect(chatTemplate(builtIn[name]!, tokenizer).end).toEqual({ text: "<|endoftext|>", id: end });
  });
  test("with another token that the vocabulary has", () => {
    expect(answered(withTokens, CHATML, "two.<|im_end|>\n<|im_start|>user")).toEqual({
      end: { text: "<|im_end|>", id: tokenizer.size + 1 },
      text: "two.",
      ended: true,
      left: "\n<|im_start|>user",
    });
  });
  test("with text, where the vocabulary has no such token", () => {
    const { end, text, ended } = answered(tokenizer, CHATML, " two.<|im_end|>\n<|im_start|>user");
    expect([end, text, ended]).toEqual([{ text: "<|im_end|>", id: null }, "two.", true]);
  });
  test("nowhere, where the template says nothing of it; the end-of-text token ends all the same", () => {
    expect(answered(tokenizer, OPEN, "two\nthree")).toMatchObject({ end: null, text: "two\nthree", ended: false });
    expect(answered(tokenizer, OPEN, "two<|endoftext|>three")).toMatchObject({ text: "two", left: "three" });
  });
});

describe("what somebody writes", () => {
  test("is never read as a special token", () => {
    const { ids, trained } = chat.encode([
      { role: "user", content: "say <|endoftext|> twice <|endoftext|>" },
      { role: "assistant", content: "no <|endoftext|> here" },
    ]);
    expect(ids.filter((id) => id === end)).toHaveLength(1);
    expect(ids.at(-1) === end || ids.at(-2) === end).toBe(true);
    expect(tokenizer.decode(ids)).toContain("say <|endoftext|> twice");
    expect(trainedRuns({ ids, trained })).toEqual([" no <|endoftext|> here<|endoftext|>"]);
  });
  test("cannot move the marks", () => {
    const { ids, trained } = chat.encode([
      { role: "user", content: "a \ue7f0b\ue7f1 c" },
      { role: "assistant", content: "d" },
    ]);
    expect(trainedRuns({ ids, trained })).toEqual([" d<|endoftext|>"]);
  });
  test("is not read as Jinja", () => {
    const text = tokenizer.decode(chat.prompt([{ role: "user", content: "{{ messages }} {% raw %}" }]));
    expect(text).toBe("User: {{ messages }} {% raw %}\nAssistant:");
  });
});

describe("a template that cannot be used is told in one sentence", () => {
  test("broken Jinja", () => {
    expect(() => chatTemplate("{% for m in %}", tokenizer)).toThrow("the chat template cannot be read");
  });
  test("one that refuses the conversation", () => {
    const strict = chatTemplate("{{ raise_exception('roles must alternate') }}", tokenizer);
    expect(() => strict.prompt([{ role: "user", content: "a" }])).toThrow(
      "the chat template fails: roles must alternate",
    );
  });
  test("one without marks that rewrites earlier turns", () => {
    const rewriting = chatTemplate(
      "{{ messages | length }}{% for m in messages %}{{ m.content }}{% endfor %}",
      tokenizer,
    );
    const messages: Message[] = [
      { role: "user", content: "a" },
      { role: "assistant", content: "b" },
    ];
    expect(() => rewriting.encode(messages)).toThrow("changes earlier turns");
  });
});

test("the saved template may stand in a file of its own, and special tokens may be objects", async () => {
  using folder = temporaryFolder();
  const { tokenizer: file, config } = tokenizer.files;
  const eos_token = { __type: "AddedToken", content: "<|endoftext|>", special: true };
  await writeTokenizer(folder.path, { tokenizer: file, config: { ...config, eos_token, chat_template: "{{ old }}" } });
  writeFileSync(join(folder.path, "chat_template.jinja"), "{{ new }}");
  const loaded = await loadTokenizer(folder.path);
  expect(loaded.endOfText).toBe(end);
  expect(savedTemplate(loaded)).toBe("{{ new }}");
});

test("the saved template is the tokenizer's, one of several by its name", () => {
  const saved = (chat_template: unknown) =>
    savedTemplate(tokenizerFrom({ tokenizer: tokenizer.files.tokenizer, config: { chat_template } }));
  expect(saved("{{ x }}")).toBe("{{ x }}");
  expect(
    saved([
      { name: "tool_use", template: "a" },
      { name: "default", template: "b" },
    ]),
  ).toBe("b");
  expect(saved(undefined)).toBeNull();
});
