/** Templates within limits: what has no end is given up in one sentence, quickly and without much memory. */
import { describe, expect, test } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { templateFile, templateFor } from "../../src/data/template-for";
import { UserError } from "../../src/errors";
import { trainBpe } from "../../src/text/bpe";
import { jinja, limits, TemplateLimitError } from "../../src/text/jinja";
import { chatTemplate } from "../../src/text/template";
import { loadTokenizer, tokenizerFrom, writeTokenizer } from "../../src/text/tokenizer";
import { temporaryFolder } from "../support/folder";

const tokenizer = tokenizerFrom(trainBpe([], { size: 257 }));

/** x of 65,536 characters. */
const LONG = `{% set x = 'a' %}${"{% set x = x ~ x %}".repeat(16)}`;
const STEPS = `it takes over ${limits.steps} steps`;
const LENGTH = `it makes a text of over ${limits.characters} characters`;
const DEPTH = `it calls itself over ${limits.depth} parts deep`;

describe("a template is given up", () => {
  test.each([
    ["a range", "{% for i in range(1000000000) %}a{% endfor %}", STEPS],
    ["loops in loops", "{% for i in range(30000) %}{% for j in range(30000) %}{% endfor %}{% endfor %}", STEPS],
    [
      "macros that branch",
      "{% macro m(n) %}{% if n %}{{ m(n - 1) }}{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(60) }}",
      STEPS,
    ],
    ["a macro that calls itself", "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", DEPTH],
    ["deep expressions", `{{ ${"not ".repeat(20_000)}true }}`, DEPTH],
    ["slow filters on long texts", `${LONG}{% for i in range(10000) %}{{ x | upper | length }}{% endfor %}`, STEPS],
    ["doubled texts", `{% set x = 'a' %}${"{% set x = x ~ x %}".repeat(60)}{{ x }}`, LENGTH],
    [
      "texts doubled in a namespace",
      "{% set n = namespace(x='a') %}{% for i in range(60) %}{% set n.x = n.x ~ n.x %}{% endfor %}",
      LENGTH,
    ],
    ["lists in lists", `{% set x = ['a'] %}${"{% set x = [x, x] %}".repeat(40)}{{ x }}`, LENGTH],
    [
      "lists that are compared with a text",
      `{% set x = ['a'] %}${"{% set x = [x, x] %}".repeat(40)}{{ x == 'a' }}`,
      LENGTH,
    ],
    [
      "lists of long texts",
      `${LONG}{% set y = [x, x, x, x, x, x, x, x] %}{% set z = [y, y, y, y, y] %}{{ z | tojson }}`,
      LENGTH,
    ],
    ["replace, a method", `${LONG}{{ x.replace('', x) }}`, LENGTH],
    [
      "replace by another name",
      `${LONG}{% set f = x['replace'] %}{% macro m(g) %}{{ g('a', x) }}{% endmacro %}{{ m(f) }}`,
      LENGTH,
    ],
    ["replace, a filter", `${LONG}{{ x | replace('a', x) }}`, LENGTH],
    ["replace, a filter's block", `${LONG}{% filter replace('a', x) %}{{ x }}{% endfilter %}`, LENGTH],
    ["join", `${LONG}{{ range(1000) | join(x) }}`, LENGTH],
    ["indent", "{{ 'a\nb' | indent(1000000000) }}", LENGTH],
    ["tojson, indented", "{{ [1, 2] | tojson(indent=1000000000) }}", LENGTH],
    ["tojson, with separators", `${LONG}{{ range(1000) | tojson(separators=(x, x)) }}`, LENGTH],
  ])("%s", (_name, source, why) => {
    const started = performance.now();
    expect(() => jinja(source)({})).toThrow(`the chat template is given up: ${why}`);
    expect(performance.now() - started).toBeLessThan(20_000);
  });
  test("where its source is too long, or has too much white space in a row", () => {
    expect(() => jinja("a".repeat(limits.source + 1))).toThrow("are allowed");
    expect(() => jinja(`a${" ".repeat(limits.blank)}`)).toThrow("white space in a row");
    expect(() => jinja(`{{ ${"(".repeat(200_000)} }}`)).toThrow();
  });
  test("and no other record is tried with it", () => {
    // Only conversations of more than two turns are without end, so the template's own probes are not.
    const source =
      "{{ messages[0].content }}{{ messages[1].content }}{% if messages | length > 3 %}{% for i in range(99999999) %}{% endfor %}{% endif %}";
    const turns = (count: number) =>
      Array.from({ length: count }, (_, i) => ({ role: i % 2 ? "assistant" : "user", content: "a" }) as const);
    expect(() => chatTemplate(source, tokenizer).encode(turns(4))).toThrow(TemplateLimitError);
    expect(() => chatTemplate("{% for i in range(99999999) %}{% endfor %}", tokenizer)).toThrow(TemplateLimitError);
  });
});

test("what is within the limits is what it was", () => {
  const render = (source: string) => jinja(source)({ a: "one two one", list: ["a", "b"] });
  expect(render("{{ a.replace('one', '1') }} {{ a | replace('one', '1', 1) }} {{ list | join(', ') }}")).toBe(
    "1 two 1 1 two one a, b",
  );
  expect(render("{% filter replace('a', 'b') %}{{ a }}a{% endfilter %} {{ 'x\ny' | indent(2) }}")).toBe(
    "one two oneb x\n  y",
  );
  expect(render("{{ list | tojson(indent=2) }}{{ {'k': [1, none]} | tojson }}")).toBe(
    '[\n  "a",\n  "b"\n]{"k": [1, null]}',
  );
  expect(render("{% for i in range(5, 0, -2) %}{{ i }}{% endfor %}{{ range(2) | length }}{{ range(3, 1) }}")).toBe(
    "5312[]",
  );
  expect(
    render(
      "{% set f = a.replace %}{{ f('one', '1') }}{% macro m(x) %}{{ x }}{{ caller() }}{% endmacro %}{% call m(1) %}2{% endcall %}",
    ),
  ).toBe("1 two 112");
  expect(render("{% for x in list %}{% if x == 'a' %}{% continue %}{% endif %}{{ x }}{% endfor %}")).toBe("b");
  expect(render("{% for x in list %}{% if x == 'b' %}{% break %}{% endif %}{{ x }}{% endfor %}")).toBe("a");
  expect(render("{{ strftime_now('%Y') }}")).toMatch(/^\d{4}$/);
});

test("a conversation that is too long is refused, and not its template", () => {
  const chat = chatTemplate("{% for m in messages %}{{ m.content + '\\n' }}{% endfor %}", tokenizer);
  const user = (content: string) => chat.prompt([{ role: "user", content }]);
  expect(() => user("a".repeat(limits.conversation + 1))).toThrow(
    /^the conversation has 1 turns of 1048577 characters/,
  );
  expect(() => user("a".repeat(limits.conversation + 1))).not.toThrow(TemplateLimitError);
});

describe("a template's file", () => {
  const thrown = (wanted: string) => {
    try {
      templateFor(wanted, "messages", tokenizer);
    } catch (error) {
      return error as UserError;
    }
    return null;
  };
  test("may have no end, or be none", () => {
    using folder = temporaryFolder();
    const path = (name: string) => join(folder.path, name);
    mkdirSync(path("folder"));
    writeFileSync(path("bytes"), new Uint8Array([0xff, 0xfe]));
    writeFileSync(path("huge"), "a".repeat(5 * limits.source));
    for (const [wanted, message] of [
      ["/dev/zero", "the chat template /dev/zero has more than 1048576 bytes"],
      [path("huge"), "has more than 1048576 bytes"],
      [path("folder"), "cannot be read: it is a folder"],
      [path("bytes"), "is not text"],
      [path("missing"), "there is no chat template"],
      ["constructor", "there is no chat template constructor"],
    ] as const) {
      expect(thrown(wanted)?.message).toContain(message);
      expect(thrown(wanted)).toBeInstanceOf(UserError);
      expect(() => templateFile(wanted)).toThrow(message);
    }
  });
  test("is known to be one before anything is trained", () => {
    using folder = temporaryFolder();
    const path = join(folder.path, "x.jinja");
    writeFileSync(path, "{{ messages[0].content }}");
    expect([path, "auto", "chat"].map(templateFile)).toEqual([path, null, null]);
    writeFileSync(path, "{% for m in messages %}");
    expect(() => templateFile(path)).toThrow("the chat template cannot be read");
    Bun.spawnSync(["mkfifo", join(folder.path, "pipe")]);
    expect(templateFile(join(folder.path, "pipe"))).toBe(join(folder.path, "pipe"));
  });
  test("beside a tokenizer too", async () => {
    using folder = temporaryFolder();
    await writeTokenizer(folder.path, tokenizer.files);
    mkdirSync(join(folder.path, "chat_template.jinja"));
    await expect(loadTokenizer(folder.path)).rejects.toThrow("chat_template.jinja cannot be read: it is a folder");
  });
});
