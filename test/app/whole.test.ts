/** What is told of a pipeline's whole in front of its stages' progress. */
import { expect, test } from "bun:test";
import { wholeOf } from "../../src/app/whole";

function heard() {
  const lines: string[] = [];
  return { lines, console: { colour: false, note() {}, status: (text: string) => void lines.push(text), done() {} } };
}

test("the time left of all stages goes by what they took elsewhere, and by how fast they are here", async () => {
  const { lines, console } = heard();
  const whole = wholeOf(["a", "b", "c"], { console, seconds: { a: 0.05, b: 100, c: 20 } });
  whole.begin("a").status("one");
  await Bun.sleep(100);
  whole.end("a", true);
  whole.begin("b").status("two");
  whole.end("b", false);
  whole.begin("c").status("three");
  expect(lines[0]).toBe("[1/3, 2m00s left] one");
  // Here everything takes twice as long or more.
  expect(left(lines[1]!)).toBeGreaterThanOrEqual(235);
  expect(left(lines[2]!)).toBeGreaterThanOrEqual(39);
});

test("without what stages took, only which one it is; of one stage nothing", () => {
  const { lines, console } = heard();
  wholeOf(["a", "b"], { console, seconds: { a: 1 } })
    .begin("b")
    .status("x");
  wholeOf(["a"], { console, seconds: { a: 1 } })
    .begin("a")
    .status("y");
  expect(lines).toEqual(["[2/2] x", "y"]);
});

test("a stage may have any name, and a time that cannot be is none", () => {
  const { lines, console } = heard();
  wholeOf(["a", "constructor"], { console, seconds: { a: 1 } })
    .begin("a")
    .status("x");
  wholeOf(["a", "b"], { console, seconds: { a: 1e300, b: 1 } })
    .begin("a")
    .status("y");
  expect(lines).toEqual(["[1/2] x", "[1/2] y"]);
});

function left(line: string): number {
  const [, minutes = "0", seconds] = /^\[.\/3, (?:(\d+)m)?(\d+)s left\]/.exec(line)!;
  return 60 * Number(minutes) + Number(seconds);
}
