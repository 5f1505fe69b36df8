/** `init`: what it writes runs at once, in an empty folder; what is there already stays. */
import { describe, expect, test } from "bun:test";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { readConfigFile } from "../../src/app/config-file";
import { goals } from "../../src/app/goals";
import { temporaryFolder } from "../support/folder";

const main = resolve("src/main.ts");

function dawngrad(cwd: string, ...args: string[]) {
  const { exitCode, stdout, stderr } = Bun.spawnSync([process.execPath, main, ...args], { cwd });
  return { exitCode, out: stdout.toString(), err: stderr.toString() };
}

/** A few steps of every stage. */
const SHORT = [0, 1, 2].flatMap((stage) => [
  [
    `stage.${stage}.optim.steps=2`,
    `stage.${stage}.optim.warmup=0`,
    `stage.${stage}.batch.rows=2`,
    `stage.${stage}.evaluate.batches=2`,
  ],
]);

describe.each(Object.entries(goals))("init %s", (name, { data, config }) => {
  test("writes a config of the schema, and the files that it names", async () => {
    using folder = temporaryFolder();
    const { exitCode, out } = dawngrad(folder.path, "init", name);
    expect(exitCode).toBe(0);
    expect(out).toContain("next: dawngrad run dawngrad.toml");
    const { stage } = await readConfigFile(join(folder.path, "dawngrad.toml"));
    const named = [...new Set(stage.flatMap((one) => ("data" in one ? [one.data].flat() : [])))];
    expect(named.map((path) => path!.split("/").at(-1)!).sort()).toEqual(Object.keys(data).sort());
    for (const file of Object.keys(data)) expect(existsSync(join(folder.path, file))).toBe(true);
    // Commands in its comments are the program's.
    for (const [, command] of config.matchAll(/^# {3}dawngrad (\w+(?: \w+)?)/gm))
      expect(
        dawngrad(
          folder.path,
          ...command!.split(" ").slice(0, command!.startsWith("data") || command!.startsWith("eval") ? 2 : 1),
          "--help",
        ).exitCode,
      ).toBe(0);
  });
  if (name !== "gpt2-lora")
    test("runs at once", () => {
      using folder = temporaryFolder();
      dawngrad(folder.path, "init", name);
      const stages = [...config.matchAll(/^\[\[stage\]\]/gm)].length;
      const set = SHORT.slice(0, stages)
        .flat()
        .flatMap((value) => ["--set", value]);
      const { exitCode, err } = dawngrad(folder.path, "run", "dawngrad.toml", "--device", "cpu", ...set);
      expect(err).toContain("finished after step 2");
      expect(exitCode).toBe(0);
    }, 60_000);
});

test("a config of an odd name names itself, and the next command can be pasted", () => {
  using folder = temporaryFolder();
  const { out, exitCode } = dawngrad(folder.path, "init", "text", "--out", "it's $& mine.toml");
  expect(exitCode).toBe(0);
  expect(out).toContain(String.raw`next: dawngrad run 'it'\''s $& mine.toml'`);
  expect(readFileSync(join(folder.path, "it's $& mine.toml"), "utf8")).toContain("it's $& mine.toml");
});

test.each([
  ["text.txt", "text.txt is the data of this goal"],
  ["a\nb.toml", 'error: --out "a\\nb.toml" has a line end in it'],
])("--out %j is refused before anything is written", (name, sentence) => {
  using folder = temporaryFolder();
  const { err, exitCode } = dawngrad(folder.path, "init", "text", "--out", name);
  expect([exitCode, err]).toEqual([2, expect.stringContaining(sentence)]);
  expect(readdirSync(folder.path)).toEqual([]);
});

test("what is there stays", () => {
  using folder = temporaryFolder();
  const own = join(folder.path, "text.txt");
  writeFileSync(own, "my own");
  expect(dawngrad(folder.path, "init", "text").out).toContain("text.txt: yours, which is there already");
  expect(readFileSync(own, "utf8")).toBe("my own");
  const again = dawngrad(folder.path, "init", "questions");
  expect([again.exitCode, again.err.split("\n")[0]]).toEqual([2, "error: dawngrad.toml is there already"]);
  expect(existsSync(join(folder.path, "questions.jsonl"))).toBe(false);
});

test("another name of the config is the one that its comments name", () => {
  using folder = temporaryFolder();
  dawngrad(folder.path, "init", "questions", "--out", "fox.toml");
  const text = readFileSync(join(folder.path, "fox.toml"), "utf8");
  expect(text).toContain("dawngrad run fox.toml");
  expect(text).not.toContain("dawngrad.toml");
});

test("an unknown goal is refused with what was probably meant", () => {
  using folder = temporaryFolder();
  const { exitCode, err } = dawngrad(folder.path, "init", "preference");
  expect(exitCode).toBe(2);
  expect(err).toContain("did you mean preferences?");
});
