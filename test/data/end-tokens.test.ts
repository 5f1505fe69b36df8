/** End tokens and other special tokens that records have as letters. */
import { describe, expect, test } from "bun:test";
import { endsItself } from "../../src/data/cut";
import { encodeSamples } from "../../src/data/examples";
import type { Sample } from "../../src/data/formats";
import { addReports, reportLines } from "../../src/data/report";
import { trainBpe } from "../../src/text/bpe";
import { builtIn, chatTemplate } from "../../src/text/template";
import { tokenizerFrom } from "../../src/text/tokenizer";

const { tokenizer: file, config } = trainBpe([], { size: 257 });
const added = [
  ...(file.added_tokens as object[]),
  { id: 257, content: "<|im_start|>", special: true },
  { id: 258, content: "<|im_end|>", special: true },
];
const tokenizer = tokenizerFrom({ tokenizer: { ...file, added_tokens: added }, config });
const END = 256;
const CHATML =
  "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";
const OPEN =
  "{% for m in messages %}{{ m.role + ': ' + m.content + '\n' }}{% endfor %}{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}";

function encoded(samples: readonly Sample[], source = builtIn.chat!) {
  const template = chatTemplate(source, tokenizer);
  const loaded = {
    format: "messages",
    read: samples.length,
    bad: [],
    samples: samples.map((sample, i) => ({ ...sample, where: `x.jsonl:${i + 1}` })),
  } as const;
  const { examples, report } = encodeSamples(loaded, { tokenizer, template, tokens: 1000, cut: "open", strict: false });
  const learned = examples.map(({ ids, trained }) => [...ids].filter((_, i) => trained[i] === 1));
  return { examples, learned, report, template };
}

const letters = (text: string) =>
  [...new TextEncoder().encode(text)].map((byte) => tokenizer.encode(String.fromCharCode(byte))[0]!);
const completion = (completion: string, prompt = "2+2=") => ({ kind: "completion", prompt, completion }) as const;
const talk = (...contents: string[]) =>
  ({
    kind: "messages",
    messages: contents.map((content, i) => ({ role: i % 2 ? "assistant" : "user", content }) as const),
  }) as const;

describe("an end token at the end of an answer is its end, once:", () => {
  test.each([
    ["none", "4"],
    ["one", "4<|endoftext|>"],
    ["two", "4<|endoftext|><|endoftext|>"],
    ["with white space behind it", "4<|endoftext|> \n"],
  ])("%s", (_name, text) => {
    const { learned, report } = encoded([completion(text), talk("2+2?", text), { kind: "text", text: `4${text}` }]);
    expect(learned).toEqual([
      [...letters("4"), END],
      [...letters(" 4"), END],
      [...letters("4"), END],
    ]);
    expect(reportLines(report, "x.jsonl")).toEqual(["x.jsonl: 3 records read, 3 examples"]);
  });
  test("in every turn, and by the template's own token too", () => {
    const { learned } = encoded([talk("a", "b<|endoftext|>", "c", "d<|im_end|>\n")], CHATML);
    expect(learned).toEqual([[...letters("b"), 258, ...letters("d"), 258]]);
  });
  test("also where the template leaves answers open", () => {
    const { learned, examples, template } = encoded([talk("a", "b<|endoftext|>"), talk("a", "b")], OPEN);
    expect(learned).toEqual([[...letters("b"), END], letters("b")]);
    expect(examples.map((example) => endsItself(example, tokenizer, template))).toEqual([true, false]);
    // An end that is no end there is what the answer says.
    const [middle] = encoded([talk("a", "b<|endoftext|>", "c", "d<|endoftext|>")], OPEN).learned;
    expect(middle).toEqual([...letters("b<|endoftext|>d"), END]);
    const read = { ...talk("a", "b", "c", "d<|endoftext|>"), unlearned: [3] };
    expect(encoded([read], OPEN).learned).toEqual([letters("b")]);
  });
});

describe("special tokens elsewhere", () => {
  const samples = [
    completion("4 <|endoftext|> 5"),
    completion("6<|endoftext|>"),
    completion("7", "<|im_start|>"),
    talk("what is <|endoftext|>?", "an end"),
  ];
  test("stay text", () => {
    const { examples, learned } = encoded(samples);
    expect(learned[0]).toEqual([...letters("4 <|endoftext|> 5"), END]);
    expect([...examples[2]!.ids]).toEqual([...letters("<|im_start|>7"), END]);
    expect([...examples[3]!.ids].filter((id) => id >= END)).toEqual([END]);
  });
  test("are counted and told", () => {
    const { report } = encoded(samples);
    const told = '  used 3: first x.jsonl:1: the letters "<|endoftext|>" in it are read as plain text';
    expect(reportLines(report, "x.jsonl")).toEqual(["x.jsonl: 4 records read, 4 examples", told]);
    expect(reportLines(addReports(report, report), "all")[1]).toBe(told.replace("3", "6"));
  });
});
