/** What goes from stage to stage of a run. */
import { expect, test } from "bun:test";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { checkConfig } from "../../src/app/config-file";
import { runPipeline } from "../../src/app/pipeline";
import { openModelFiles } from "../../src/formats/checkpoint";
import { parameter } from "../../src/model/parameters";
import { device } from "../support/device";
import { temporaryFolder } from "../support/folder";

async function valuesOf(checkpoint: string): Promise<Float32Array> {
  using files = await openModelFiles(checkpoint);
  return files.values(parameter(files.model.parameters, "h.0.mlp.c_fc.weight"));
}

test("the next stage goes on from the best checkpoint, also where that is not the latest", async () => {
  using folder = temporaryFolder();
  const [train, other] = ["train.txt", "other.txt"].map((name) => join(folder.path, name));
  writeFileSync(train!, "ab".repeat(2000));
  // What is learned makes this worse, step by step.
  writeFileSync(other!, "ba".repeat(30) + "aabb".repeat(400));
  const stage = { kind: "pretrain", data: train, validation: other, batch: { rows: 4, tokens: 16 } };
  const config = checkConfig({
    name: "two",
    model: { layers: 1, heads: 1, width: 16, context: 16 },
    tokenizer: { kind: "character" },
    stage: [
      { ...stage, optim: { steps: 40, lr: 0.03, warmup: 0 }, evaluate: { every: 5 }, save: { every: 5, keep: 20 } },
      { ...stage, name: "more", optim: { steps: 1, lr: 1e-9, warmup: 0 }, evaluate: { every: 1 } },
    ],
  });
  const directory = join(folder.path, "run");
  mkdirSync(directory);
  const notes: string[] = [];
  await runPipeline(config, {
    device: device("cpu"),
    directory,
    console: { colour: false, note: (text) => notes.push(text), status() {}, done() {} },
    signal: new AbortController().signal,
    write() {},
  });
  const { best, latest } = JSON.parse(readFileSync(join(directory, "pretrain", "checkpoints.json"), "utf8"));
  expect(best).not.toBe(latest);
  expect(notes).toContain(`pretrain: the next stage goes on from its best checkpoint, ${best}`);
  const far = (a: Float32Array, b: Float32Array) => Math.max(...a.map((v, i) => Math.abs(v - b[i]!)));
  const started = await valuesOf(join(directory, "more", "step-000001"));
  expect(far(started, await valuesOf(join(directory, "pretrain", best)))).toBeLessThan(1e-6);
  expect(far(started, await valuesOf(join(directory, "pretrain", latest)))).toBeGreaterThan(1e-3);
});
