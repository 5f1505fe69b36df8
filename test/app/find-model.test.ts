/** Which model is talked to where none is named: the most aligned, then the newest; and what is said where there is none. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { mkdirSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { findModel, shortName } from "../../src/app/find-model";
import { temporaryFolder } from "../support/folder";

let folder: ReturnType<typeof temporaryFolder>;
const before = process.cwd();
beforeEach(() => {
  folder = temporaryFolder();
  process.chdir(folder.path);
});
afterEach(() => {
  process.chdir(before);
  folder[Symbol.dispose]();
});

/** Stages as NAME:KIND, made one second after the other from `at` on; with a - before it one that has no model. */
function run(name: string, at: number, ...stages: readonly string[]): void {
  const listed = stages.map((stage) => stage.replace("-", "").split(":"));
  mkdirSync(join("runs", name), { recursive: true });
  writeFileSync(
    join("runs", name, "run.json"),
    JSON.stringify({ stage: listed.map(([name, kind]) => ({ name, kind, lr: 1 })) }),
  );
  for (const [i, stage] of stages.entries()) {
    if (stage.startsWith("-")) continue;
    const path = join("runs", name, listed[i]![0]!);
    mkdirSync(path);
    const file = join(path, "checkpoints.json");
    writeFileSync(file, '{"latest": "step-000001", "best": null, "finished": true}');
    utimesSync(file, at + i, at + i);
  }
}

describe("the best model", () => {
  test("is an aligned one, however old, then a fine-tuned one, then a pretrained one", () => {
    run("a", 1000, "pretrain:pretrain");
    expect(findModel(undefined)).toEqual({ given: "runs/a/pretrain", why: "pretrained (pretrain)" });
    run("b", 500, "pretrain:pretrain", "sft:sft", "-dpo:dpo", "reward:reward");
    expect(findModel(undefined).given).toBe("runs/b/sft");
    run("c", 100, "first:sft", "second:grpo");
    expect(findModel(undefined)).toEqual({
      given: "runs/c/second",
      why: "aligned (grpo), the best of 5 stages under runs/",
    });
    run("d", 200, "x:dpo", "y:merge");
    expect(findModel(undefined).given).toBe("runs/d/y");
  });

  test("of a kind is the newest of it", () => {
    run("a", 1000, "sft:sft", "dpo:dpo");
    run("b", 2000, "sft:sft");
    expect(findModel("sft").given).toBe("runs/b/sft");
    expect(findModel("dpo")).toEqual({ given: "runs/a/dpo", why: "the newest of the kind dpo" });
    expect(() => findModel("ppo")).toThrow("no run under runs/ has a model of the kind ppo");
    mkdirSync("ppo");
    expect(findModel("ppo")).toEqual({ given: "ppo", why: "it was asked for" });
  });

  test("pretrained is the newest pretrain stage, else gpt2", () => {
    expect(findModel("pretrained").given).toBe("gpt2");
    run("a", 1000, "base:pretrain", "sft:sft");
    expect(findModel("pretrained").given).toBe("runs/a/base");
  });

  test("is said to be missing where there is none; a broken run hides no other", () => {
    expect(() => findModel(undefined)).toThrow("there is no model under runs/");
    mkdirSync("runs/broken", { recursive: true });
    writeFileSync("runs/broken/run.json", "{");
    writeFileSync("runs/notes.txt", "");
    expect(() => findModel(undefined)).toThrow("there is no model under runs/");
    run("a", 1, "sft:sft");
    expect(findModel(undefined).given).toBe("runs/a/sft");
  });
});

test("a short name is a run's stage, a folder, or the Hub's name", () => {
  run("a", 1, "sft:sft");
  mkdirSync("models/mine", { recursive: true });
  expect(shortName("runs/a/sft")).toBe("a/sft");
  expect(shortName("models/mine/")).toBe("mine");
  expect(shortName("openai-community/gpt2")).toBe("openai-community/gpt2");
});
