/** Ctrl-C while a command trains: once to stop after the step under way, once more to stop at once. */
import { expect, test } from "bun:test";
import { existsSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { temporaryFolder } from "../support/folder";

/** Trains by steps of some hundred milliseconds, and sends so many SIGINTs within the second one. */
async function interrupted(
  folder: string,
  times: number,
  [rows, accumulate] = ["64", "1"],
): Promise<{ code: number; saved: string[] }> {
  const data = join(folder, "text.txt");
  writeFileSync(data, "the quick brown fox jumps over the lazy dog. ".repeat(100));
  const out = join(folder, "run");
  const settings = ["--tokenizer", "character", "--steps", "6", "--warmup", "0", "--rows", rows!, "--tokens", "64"];
  const config = [...settings, "--set", "stage.0.logEvery=1", "--set", `stage.0.batch.accumulate=${accumulate}`];
  const child = Bun.spawn(
    [process.execPath, "src/main.ts", "pretrain", "--data", data, "--out", out, "--device", "cpu", ...config],
    { stderr: "pipe", stdout: "ignore" },
  );
  let heard = "";
  const decoder = new TextDecoder();
  for await (const part of child.stderr) {
    const before = heard;
    heard += decoder.decode(part);
    // The next moment at which signals are heard is the end of the next micro-batch.
    if (!/step 1\/6/.test(heard) || /step 1\/6/.test(before)) continue;
    for (let i = 0; i < times; i++) {
      child.kill("SIGINT");
      await Bun.sleep(30); // two that come at the same moment are one
    }
  }
  const code = await child.exited;
  const stage = join(out, "pretrain");
  return { code, saved: existsSync(stage) ? readdirSync(stage).filter((name) => name.startsWith("step-")) : [heard] };
}

test("once saves the step under way", async () => {
  using folder = temporaryFolder();
  expect(await interrupted(folder.path, 1)).toEqual({ code: 130, saved: ["step-000002"] });
});

test("in the middle of a step's micro-batches that step is left out", async () => {
  using folder = temporaryFolder();
  expect(await interrupted(folder.path, 1, ["8", "16"])).toEqual({ code: 130, saved: ["step-000001"] });
});

test("twice stops at once, and saves nothing", async () => {
  using folder = temporaryFolder();
  expect(await interrupted(folder.path, 2)).toEqual({ code: 130, saved: [] });
});
