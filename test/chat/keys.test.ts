/** What a terminal sends comes to readline as lines and characters, however it is cut into pieces. */
import { describe, expect, test } from "bun:test";
import { codePointsBefore, EDITOR, ERASE, translator } from "../../src/chat/keys";

const cases: readonly (readonly [string, string, string])[] = [
  ["letters are themselves", "abc日本", "abc日本"],
  ["a pasted page is one line", "\x1b[200~a\r\nb\rc\nd\te\x1b[201~\r", "a⏎b⏎c⏎d e\r"],
  ["nothing pasted is a key", "\x1b[200~a\x03\x7f\x07\x1b\rb\x1b[A\x1b[201~", "a⏎b[A"],
  ["a pasted start of a paste is text", "\x1b[200~x\x1b[200~y\x1b[201~", "x[200~y"],
  ["Alt-Enter begins a line", "a\x1b\rb", "a⏎b"],
  ["the backspace and Ctrl-G are told of", "a\x7f\b\x07", `a${ERASE}${ERASE}${EDITOR}`],
  ["arrows stay", "\x1b[A\x1b[D\x1b[3~", "\x1b[A\x1b[D\x1b[3~"],
];

describe("keys", () => {
  test.each(cases)("%s, cut anywhere", (_name, sent, wanted) => {
    for (let first = 0; first <= sent.length; first++) {
      for (let second = first; second <= sent.length; second++) {
        const translate = translator();
        const parts = [sent.slice(0, first), sent.slice(first, second), sent.slice(second)];
        expect(parts.map(translate).join("")).toBe(wanted);
      }
    }
  });

  test("a character is erased whole", () => {
    const family = "👨‍👩‍👧‍👦";
    expect(codePointsBefore(`a${family}`, 1 + family.length)).toBe(7);
    expect(codePointsBefore(`a${family}`, 1)).toBe(1);
    expect(codePointsBefore("", 0)).toBe(0);
    expect(codePointsBefore("e\u0301", 2)).toBe(2);
    expect(codePointsBefore("語", 1)).toBe(1);
  });
});
