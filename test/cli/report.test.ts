/** `report` and `plot`: what they write, and what they say of a run that goes on, is of another version, or is none. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync, lstatSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { temporaryFolder } from "../support/folder";

const folder = temporaryFolder();
afterAll(() => folder[Symbol.dispose]());
const at = (...parts: string[]) => join(folder.path, ...parts);

function dawngrad(...words: string[]) {
  const env = { ...process.env, NO_COLOR: "1", COLUMNS: "80" };
  const { exitCode, stdout, stderr } = Bun.spawnSync([process.execPath, "src/main.ts", ...words], { env });
  return { code: exitCode, out: stdout.toString(), err: stderr.toString() };
}

function write(path: string, value: unknown): void {
  mkdirSync(join(path, ".."), { recursive: true });
  writeFileSync(path, typeof value === "string" ? value : JSON.stringify(value));
}

const made = { program: "0.1.0", device: "a processor", began: "2026-01-01T10:00:00Z" };
const metrics = [1, 2, 3].map((step) => `${JSON.stringify({ step, loss: 3 / step })}\n`).join("");

beforeAll(() => {
  const stages = { name: "goes-on", stage: ["first", "second", "third"].map((name) => ({ name, kind: "sft" })) };
  write(at("goes-on", "run.json"), stages);
  write(at("goes-on", "first", "stage.json"), {
    state: "finished",
    parts: {},
    made: { ...made, finished: "2026-01-01T10:01:00Z" },
  });
  write(at("goes-on", "first", "metrics.jsonl"), metrics);
  write(at("goes-on", "second", "stage.json"), { state: "begun", parts: {}, made });
  // Its last line is being written.
  write(at("goes-on", "second", "metrics.jsonl"), `${metrics}{"step":4,"lo`);
  write(at("other", "run.json"), { version: 9, stages: [] });
  write(at("other", "first", "stage.json"), { state: "finished", parts: { kind: "sft 2" } });
  write(at("other", "first", "checkpoints.json"), []);
  mkdirSync(at("empty"));
});

describe("report", () => {
  test("of a run that goes on has what there is", () => {
    const { code, out, err } = dawngrad("report", at("goes-on"));
    expect({ code, err, out: out.trim() }).toEqual({ code: 0, err: "", out: at("goes-on", "report.html") });
    const page = readFileSync(out.trim(), "utf8");
    expect(page).toContain("<svg");
    for (const said of ["not begun", "begun", "finished"]) expect(page).toContain(said);
    expect(page).not.toContain("<script");
  });
  test("goes through a link and into a pipe, and leaves both", () => {
    writeFileSync(at("page.html"), "before");
    symlinkSync("page.html", at("link.html"));
    symlinkSync("none.html", at("dangling.html"));
    for (const name of ["link.html", "dangling.html"]) {
      expect(dawngrad("report", at("goes-on"), "--out", at(name)).code).toBe(0);
      expect(lstatSync(at(name)).isSymbolicLink()).toBe(true);
      expect(readFileSync(at(name), "utf8")).toContain("<html");
    }
    Bun.spawnSync(["mkfifo", at("pipe")]);
    const script = `"$0" src/main.ts plot ${at("goes-on", "first")} --out ${at("pipe")} > /dev/null & cat ${at("pipe")}`;
    const { stdout } = Bun.spawnSync(["sh", "-c", script, process.execPath]);
    expect(stdout.toString()).toContain("<svg");
    expect(lstatSync(at("pipe")).isFIFO()).toBe(true);
  });
  test("says of a time that is none that it is none", () => {
    write(at("when", "run.json"), { name: "when", stage: [{ name: "one", kind: "sft" }] });
    write(at("when", "one", "stage.json"), {
      state: "finished",
      parts: {},
      made: { ...made, began: "soon", finished: "x" },
    });
    const { code, err } = dawngrad("report", at("when"));
    expect(code).toBe(0);
    expect(err).toContain('says when as "soon", which is no date');
  });
  test("of files of another version, or without metrics, says so and goes as far as it can", () => {
    const { code, err } = dawngrad("report", at("other"), "--out", at("other.html"));
    expect(code).toBe(0);
    expect(err).toContain("run.json is missing or of another version: stages are told by their folders\n");
    expect(err).toContain("first has no metrics: metrics.jsonl is missing or empty\n");
    expect(existsSync(at("other.html"))).toBe(true);
  });
  test.each([
    ["nowhere", "there is no run"],
    ["empty", "is no run: it has neither run.json nor a stage"],
  ])("of %s is refused in a sentence", (name, message) => {
    const { code, err } = dawngrad("report", at(name));
    expect(code).toBe(2);
    expect(err).toMatch(new RegExp(`^error: .*${message}.*\nhint: `));
  });
});

describe("plot", () => {
  test("draws a stage, a run, and two beside each other", () => {
    const one = dawngrad("plot", at("goes-on", "first"));
    expect(one.code).toBe(0);
    expect(one.out).toContain("loss");
    const all = dawngrad("plot", at("goes-on"), "--metric", "loss");
    expect(all.out).toContain(at("goes-on", "second"));
    const svg = dawngrad("plot", at("goes-on", "first"), "--against", at("goes-on", "second"), "--out", at("a.svg"));
    expect({ ...svg, out: svg.out.trim() }).toEqual({ code: 0, err: "", out: at("a.svg") });
    expect(readFileSync(at("a.svg"), "utf8")).toStartWith("<svg");
  });
  test.each([
    [["goes-on", "--metric", "los"], "has no metric los", "did you mean loss?"],
    [["goes-on/third"], "there is no run", "give a run's folder"],
    [["other"], "has no metrics yet", "a stage writes them while it trains"],
  ])("%j is refused in a sentence", ([name = "", ...words], message, hint) => {
    const { code, err } = dawngrad("plot", at(name), ...words);
    expect(code).toBe(2);
    expect(err).toContain(message);
    expect(err).toContain(`hint: ${hint}`);
    expect(err.trim().split("\n")).toHaveLength(2);
  });
});
