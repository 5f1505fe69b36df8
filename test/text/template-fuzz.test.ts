/** Templates put together from any parts, and records of any shape: used, or refused in a sentence, and never anything else. Seeded. */
import { expect, test } from "bun:test";
import fc from "fast-check";
import { encodeSamples } from "../../src/data/examples";
import { convert, type Format, formats } from "../../src/data/formats";
import { reportLines } from "../../src/data/report";
import { UserError } from "../../src/errors";
import { trainBpe } from "../../src/text/bpe";
import { builtIn, chatTemplate, type Message } from "../../src/text/template";
import { tokenizerFrom } from "../../src/text/tokenizer";

const tokenizer = tokenizerFrom(trainBpe([], { size: 257 }));
const JAVASCRIPTS = /\(evaluating|undefined is|is not an object|TypeError/;

const tags = [
  "{% for m in messages %}",
  "{% endfor %}",
  "{% if m.role == 'user' %}",
  "{% elif tools is not none %}",
  "{% else %}",
  "{% endif %}",
  "{% generation %}",
  "{%- endgeneration -%}",
  "{% set x = m.content %}",
  "{% macro f(a) %}",
  "{% endmacro %}",
  "{{ f(x) }}",
  "{% filter replace('a', x) %}",
  "{% endfilter %}",
  "{% break %}",
  "{{ m.content + eos_token }}",
  "{{ messages[0].content.split(x)[1] }}",
  "{{ messages | tojson(indent=9) }}",
  "{{ range(99999999) | join(x) }}",
  "{{ namespace(a=x) }}",
  "{{ raise_exception(x) }}",
];
const scraps = [
  "{{",
  "}}",
  "{%",
  "%}",
  "|",
  "(",
  ")",
  "[",
  "]",
  "x",
  "m",
  ".",
  "'",
  "~",
  "**",
  "1e9",
  "none",
  "\r\n",
  "\\",
  "{#",
];
const source = fc.oneof(
  fc.array(fc.constantFrom(...tags), { maxLength: 12 }).map((parts) => parts.join("")),
  fc.array(fc.constantFrom(...tags, ...scraps), { maxLength: 12 }).map((parts) => parts.join("")),
  fc
    .tuple(fc.constantFrom(...Object.values(builtIn)), fc.nat(), fc.nat(12), fc.constantFrom(...tags, ...scraps))
    .map(([whole, at, length, part]) => {
      const place = at % whole.length;
      return whole.slice(0, place) + part + whole.slice(place + length);
    }),
);

function refusedOrUsed(use: () => unknown): boolean {
  try {
    use();
    return true;
  } catch (error) {
    expect(error).toBeInstanceOf(UserError);
    expect((error as Error).message).not.toMatch(JAVASCRIPTS);
    return false;
  }
}

test("templates", () => {
  const messages: Message[] = [
    { role: "user", content: "question" },
    { role: "assistant", content: "reply" },
  ];
  let used = 0;
  fc.assert(
    fc.property(source, (source) => {
      const before = performance.now();
      if (refusedOrUsed(() => chatTemplate(source, tokenizer).prompt(messages.slice(0, 1)))) used++;
      refusedOrUsed(() => {
        const { ids, trained } = chatTemplate(source, tokenizer).encode(messages);
        // Nothing is used that has not the words of both.
        for (const { content } of messages) expect(tokenizer.decode(ids)).toContain(content);
        expect(trained).toHaveLength(ids.length);
      });
      expect(performance.now() - before).toBeLessThan(20_000);
    }),
    { seed: 12, numRuns: 1500 },
  );
  expect(used).toBeGreaterThan(50);
});

const odd = fc.oneof(
  fc.constantFrom<unknown>(null, "", "words", 0, 1, 0.5, true, false, [], {}, "<|endoftext|>", "__proto__"),
  fc.jsonValue({ maxDepth: 3 }),
);
const turn = fc.record(
  {
    role: fc.constantFrom<unknown>("user", "assistant", "system", "tool", "constructor", null),
    from: fc.constantFrom<unknown>("human", "gpt", null),
    content: odd,
    value: odd,
    weight: fc.constantFrom<unknown>(0, 1, 0.5, "0", null),
    train: fc.constantFrom<unknown>(true, false, 0, null),
    tool_calls: odd,
  },
  { requiredKeys: [] },
);
const turns = fc.oneof(
  fc
    .array(fc.string(), { minLength: 1, maxLength: 4 })
    .map((texts) => texts.map((content, i) => ({ role: i % 2 ? "assistant" : "user", content: `${content}.` }))),
  fc.array(fc.oneof(turn, odd), { maxLength: 5 }),
);
const text = fc.oneof({ arbitrary: fc.string(), weight: 3 }, { arbitrary: odd, weight: 1 });
const record = fc.record(
  {
    instruction: text,
    input: text,
    context: text,
    output: text,
    response: text,
    system: text,
    history: fc.oneof(fc.array(fc.array(text, { maxLength: 3 }), { maxLength: 3 }), odd),
    prompt: fc.oneof(text, turns),
    completion: fc.oneof(text, turns),
    question: text,
    answer: text,
    messages: fc.oneof(turns, odd),
    conversations: fc.oneof(turns, odd),
    text,
    message_tree_id: text,
    message_id: text,
    parent_id: text,
    role: text,
  },
  { requiredKeys: [] },
);

test("records, each of them used, or skipped for a reason", () => {
  const template = chatTemplate(builtIn.alpaca!, tokenizer);
  let used = 0;
  fc.assert(
    fc.property(fc.array(record, { maxLength: 4 }), fc.constantFrom<Format>(...formats), (records, format) => {
      const rows = records.map((fields, i) => ({ fields, where: `file:${i + 1}` }));
      const converted = convert(rows, format, { paths: "all", lang: "", quality: 0 });
      const loaded = { format, ...converted };
      const { examples, report } = encodeSamples(loaded, {
        tokenizer,
        template,
        tokens: 200,
        cut: "open",
        strict: false,
      });
      used += examples.length;
      for (const { ids, trained, targets } of examples) {
        expect(targets).toBeGreaterThan(0);
        expect(ids).toHaveLength(trained.length);
      }
      const lines = reportLines(report, "file").join("\n");
      expect(lines).not.toMatch(JAVASCRIPTS);
      if (format === "oasst" || format === "oasst-messages") return;
      const skipped = [...report.skipped.values()].reduce((sum, { count }) => sum + count, 0);
      expect(examples.length + skipped).toBe(records.length);
    }),
    { seed: 12, numRuns: 1500 },
  );
  expect(used).toBeGreaterThan(300);
});
