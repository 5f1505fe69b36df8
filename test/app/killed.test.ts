/** A diamond of stages whose process dies, in the middle of each stage and between what ends one. */
import { expect, test } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { runPipeline } from "../../src/app/pipeline";
import { silent } from "../support/console";
import { device } from "../support/device";
import { diamond } from "../support/diamond";
import { temporaryFolder } from "../support/folder";

async function run(config: ReturnType<typeof diamond>, directory: string): Promise<string[]> {
  const notes: string[] = [];
  const note = (text: string) => notes.push(text);
  const signal = new AbortController().signal;
  await runPipeline(config, { device: device("cpu"), directory, console: { ...silent, note }, signal, write() {} });
  return notes;
}

test("killed at every stage's middle and end, it goes on to the same bytes", async () => {
  using folder = temporaryFolder();
  const config = diamond(folder.path);
  const [whole, broken] = [join(folder.path, "whole"), join(folder.path, "broken")];
  await run(config, whole);
  const file = join(folder.path, "config.json");
  writeFileSync(file, JSON.stringify(config));
  const moments = [
    "pretrain  step 4/8",
    // The last checkpoint is there, and nothing says yet that the stage is finished.
    "pretrain: finished after",
    "a  step 4/6",
    "b  step 4/6",
    "b: finished after",
    "merge: the mean of",
  ];
  for (const moment of moments) {
    const child = Bun.spawn([process.execPath, "test/support/dying-run.ts", file, broken, moment], { stderr: "pipe" });
    await child.exited;
    expect(child.signalCode, `${moment}: ${await child.stderr.text()}`).toBe("SIGKILL");
  }
  const notes = await run(config, broken);
  expect(notes.filter((note) => note.endsWith(": finished before"))).toHaveLength(3);
  const results = ["pretrain/step-000008", "a/step-000006", "b/merged", "merge/model"];
  for (const result of results) {
    const [one, other] = [whole, broken].map((run) => readFileSync(join(run, result, "model.safetensors")));
    expect(one!.equals(other!), result).toBe(true);
  }
}, 60_000);
