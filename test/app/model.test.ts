/** What a path stands for. */
import { describe, expect, test } from "bun:test";
import { mkdirSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { modelDirectory } from "../../src/app/model";
import { temporaryFolder } from "../support/folder";

const write = (path: string, value: unknown) => writeFileSync(path, JSON.stringify(value));

function addStage(run: string, name: string, best: string | null): void {
  for (const checkpoint of [best ?? "step-000020", "step-000020"])
    mkdirSync(join(run, name, checkpoint), { recursive: true });
  write(join(run, name, "checkpoints.json"), { latest: "step-000020", best, finished: true });
}

describe("a run stands for its last stage that has a checkpoint", () => {
  test("by its config, also where a copy has mixed up the times", () => {
    using folder = temporaryFolder();
    const run = folder.path;
    write(join(run, "run.json"), { stage: [{ name: "pretrain" }, { name: "sft" }, { name: "another" }] });
    expect(() => modelDirectory(run)).toThrow(/has no checkpoint yet$/);
    addStage(run, "sft", "step-000010");
    addStage(run, "pretrain", null);
    utimesSync(join(run, "sft", "checkpoints.json"), 1, 1);
    expect(modelDirectory(run)).toBe(join(run, "sft", "step-000010"));
    expect(modelDirectory(join(run, "pretrain"))).toBe(join(run, "pretrain", "step-000020"));
    addStage(run, "another", null);
    expect(modelDirectory(run)).toBe(join(run, "another", "step-000020"));
  });
  test("or for its result", () => {
    using folder = temporaryFolder();
    const run = folder.path;
    write(join(run, "run.json"), { stage: [{ name: "pretrain" }, { name: "sft" }], result: "pretrain" });
    addStage(run, "sft", null);
    expect(() => modelDirectory(run)).toThrow(/has no checkpoint of its result, pretrain, yet$/);
    addStage(run, "pretrain", null);
    expect(modelDirectory(run)).toBe(join(run, "pretrain", "step-000020"));
  });
  test("and is refused where its config is broken", () => {
    using folder = temporaryFolder();
    writeFileSync(join(folder.path, "run.json"), "{");
    expect(() => modelDirectory(folder.path)).toThrow(/run\.json is not valid JSON: /);
  });
});
