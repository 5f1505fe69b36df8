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

describe("words that a template leaves out", () => {
  const user = { role: "user", content: "one  two" } as const;
  const assistant = { role: "assistant", content: "three" } as const;
  const system = (content: string) => ({ role: "system", content }) as const;
  const TURNS = "{% for m in messages %}{{ m.role + ': ' + m.content + '\n' }}{% endfor %}";
  test.each([
    [
      "the system's",
      TURNS.replace("%}{{", "%}{% if m.role != 'system' %}{{").replace("}}{%", "}}{% endif %}{%"),
      "turn 1, the system's",
    ],
    [
      "the user's",
      "{% for m in messages %}{% if m.role != 'user' %}{{ m.content }}{% endif %}{% endfor %}",
      "turn 2, the user's",
    ],
    [
      "all, which it takes for lists of parts",
      TURNS.replace("+ m.content +", "}}{{ m.content[0].text }}{{"),
      "turn 1, the system's",
    ],
    ["the case of letters", TURNS.replace("m.content", "m.content | upper"), "turn 1, the system's"],
  ])("%s: refused", (_name, source, which) => {
    const chat = chatTemplate(source, tokenizer);
    const messages = [system("Be brief."), user, assistant];
    const why = `the chat template leaves out or changes words of ${which}`;
    expect(() => chat.encode(messages)).toThrow(why);
    expect(() => chat.prompt(messages.slice(0, -1))).toThrow(why);
  });
  test("also where it writes the same words itself, or another turn says them", () => {
    const silent = chatTemplate(
      "A: {% for m in messages %}{% if m.role != 'system' %}{{ m.content }}{% endif %}{% endfor %}",
      tokenizer,
    );
    expect(() => silent.prompt([system("A"), user])).toThrow("the system's");
    expect(() => silent.prompt([user])).not.toThrow();
    const first = chatTemplate("{{ messages[0].content }} {{ messages[1].content }}", tokenizer);
    const again = [user, assistant, user, assistant];
    expect(() => first.encode(again.slice(0, 2))).not.toThrow();
    expect(() => first.encode(again)).toThrow("words of turn 3, the user's");
  });
  test("white space may differ, and a system turn may be told later", () => {
    const chat = chatTemplate(
      "{% for m in messages %}{% if m.role != 'system' %}{% if loop.last or loop.length == 2 %}{{ messages[0].content.split() | join(' ') }} {% endif %}{{ m.content | trim }} {% endif %}{% endfor %}",
      tokenizer,
    );
    expect(tokenizer.decode(chat.prompt([system(" Be\nbrief. "), user]))).toBe("Be brief. one  two ");
  });
});

describe("the generation prompt", () => {
  const HEADED =
    "{% for m in messages %}{{ m.role + ': ' }}{% if m.role == 'assistant' %}{% generation %}{{ m.content + eos_token }}{% endgeneration %}{% else %}{{ m.content }}{% endif %}{{ '\n' }}{% endfor %}";
  const messages: Message[] = [
    { role: "user", content: "one" },
    { role: "assistant", content: "two" },
  ];
  test.each([
    ["is not written", "", 'behind "user: zquser\\n", and trains it behind "user: zquser\\nassistant: "'],
    ["lacks a space", "{% if add_generation_prompt %}{{ 'assistant:' }}{% endif %}", "asks for an answer behind"],
    ["is another", "{% if add_generation_prompt %}{{ 'ASSISTANT: ' }}{% endif %}", "asks for an answer behind"],
    [
      "is written more than once",
      "{% if add_generation_prompt %}{{ 'assistant: assistant: ' }}{% endif %}",
      "asks for",
    ],
    [
      "is another after a system turn",
      "{% if add_generation_prompt %}{{ 'assistant: ' if messages[0].role == 'user' else 'model: ' }}{% endif %}",
      "asks for an answer behind",
    ],
  ])("%s: training is refused, asking is not", (_name, prompt, why) => {
    const chat = chatTemplate(HEADED + prompt, tokenizer);
    expect(() => chat.encode(messages)).toThrow(why);
    expect(() => chat.prompt(messages.slice(0, 1))).not.toThrow();
  });
  test("without marks: is the beginning of what is trained, or training is refused", () => {
    const source = `${HEADED.replaceAll(/{% (end)?generation %}/g, "")}{% if add_generation_prompt %}{{ 'assistant: <think>' }}{% endif %}`;
    expect(() => chatTemplate(source, tokenizer).encode(messages)).toThrow("changes earlier turns");
  });
  test("has the tokens of training, earlier answers too", () => {
    // After "assistant: " the answer is encoded on its own: its first word has no space before it.
    const reader = tokenizerFrom(trainBpe(["assistant: two two two two one one"], { size: 280 }));
    for (const source of [HEADED, HEADED.replaceAll(/{% (end)?generation %}/g, "")]) {
      const chat = chatTemplate(`${source}{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}`, reader);
      const whole = chat.encode([...messages, ...messages]);
      const prompt = chat.prompt([...messages, ...messages].slice(0, 3));
      expect(whole.ids.slice(0, prompt.length)).toEqual(prompt);
      expect(whole.trained[prompt.length]).toBe(true);
      expect(prompt).not.toEqual(reader.encode(reader.decode(prompt), { special: true }));
    }
  });
});

describe("answers that are not to be learned", () => {
  const messages: Message[] = ["one", "two", "three", "four"].map((content, i) => ({
    role: i % 2 ? "assistant" : "user",
    content,
  }));
  test.each([[builtIn.chat!], [builtIn.chat!.replaceAll(/{% (end)?generation %}/g, "")]])(
    "are only read: %s",
    (source) => {
      const chat = chatTemplate(source, tokenizer);
      expect(chat.encode(messages, [1]).ids).toEqual(chat.encode(messages).ids);
      expect(trainedRuns(chat.encode(messages, [1]))).toEqual([" four<|endoftext|>"]);
      expect(trainedRuns(chat.encode(messages, [3]))).toEqual([" two<|endoftext|>"]);
      expect(trainedRuns(chat.encode(messages, [1, 3]))).toEqual([]);
    },
  );
  test("need a template that marks each as one part", () => {
    const parted = builtIn.chat!.replace(
      "message.content",
      "message.content }}{% endgeneration %}{% generation %}{{ ''",
    );
    expect(() => chatTemplate(parted, tokenizer).encode(messages)).not.toThrow();
    expect(() => chatTemplate(parted, tokenizer).encode(messages, [1])).toThrow("marks 4 parts of 2 answers");
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
  expect(saved({ default: "c", tool_use: "d" })).toBe("c");
  for (const none of [undefined, null, [], {}]) expect(saved(none)).toBeNull();
  for (const broken of [[null], [1], 3, true, [{ name: "default" }], [{ template: "a" }], { default: 1 }])
    expect(() => saved(broken)).toThrow("it is neither a text nor a list of names and templates");
  expect(() => saved([{ name: "rag", template: "a" }])).toThrow("none of its templates is the default: rag");
});

test("an end token behind whole conversations, and not behind turns in the middle, refuses no conversation", () => {
  const tokenizer = tokenizerFrom(trainBpe([], { size: 257 }));
  const source =
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}<end>{% endfor %}{% if add_generation_prompt %}<assistant>{% else %}{{ eos_token }}{% endif %}";
  const said = (role: Message["role"], content: string): Message => ({ role, content });
  const turns = [said("user", "a"), said("assistant", "b"), said("user", "c"), said("assistant", "d")];
  const { ids, trained } = chatTemplate(source, tokenizer).encode(turns);
  expect(tokenizer.decode(ids)).toBe("<user>a<end><assistant>b<end><user>c<end><assistant>d<end><|endoftext|>");
  expect(tokenizer.decode(ids.filter((_, at) => trained[at]))).toBe("b<end>d<end><|endoftext|>");
});
