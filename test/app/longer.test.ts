/** Stages that are to train longer: they go on where their learning rates so far would have been the same, else run again. */
import { expect, test } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { checkConfig } from "../../src/app/config-file";
import { runPipeline } from "../../src/app/pipeline";
import { planOf } from "../../src/app/plan";
import { silent } from "../support/console";
import { device } from "../support/device";
import { temporaryFolder } from "../support/folder";

function configIn(folder: string, optim: object) {
  return checkConfig({
    name: "longer",
    model: { layers: 1, heads: 1, width: 16, context: 24 },
    tokenizer: { kind: "character" },
    stage: [
      {
        kind: "pretrain",
        data: join(folder, "text.txt"),
        batch: { rows: 4, tokens: 24 },
        optim: { lr: 3e-3, warmup: 2, ...optim },
        evaluate: { every: 4, batches: 2 },
        save: { every: 2 },
      },
    ],
  });
}

/**
 * The last checkpoint's weights and moments after training by each of these in turn, in one run; the notes of the last sitting.
 * `stopAt`: a note that Ctrl-C comes with.
 */
async function trained(...sittings: readonly { readonly stopAt?: string; readonly [key: string]: unknown }[]) {
  using folder = temporaryFolder();
  writeFileSync(join(folder.path, "text.txt"), "what is it? it is a number 0123456. ".repeat(60));
  const directory = join(folder.path, "run");
  let notes: string[] = [];
  let plan = "";
  for (const { stopAt, ...optim } of sittings) {
    const config = configIn(folder.path, optim);
    plan = (await planOf(config, { directory, console: silent })).text;
    notes = [];
    const controller = new AbortController();
    const console = {
      ...silent,
      note(line: string) {
        notes.push(line);
        if (stopAt && line.includes(stopAt)) controller.abort();
      },
    };
    const { signal } = controller;
    await runPipeline(config, { device: device("cpu"), directory, console, signal, write() {} });
  }
  const { latest } = JSON.parse(readFileSync(join(directory, "pretrain", "checkpoints.json"), "utf8"));
  const read = (name: string) => readFileSync(join(directory, "pretrain", latest, name)).toString("hex");
  return { latest, files: [read("model.safetensors"), read("optimizer.safetensors")], notes: notes.join("\n"), plan };
}

test("at a constant rate more steps go on, to the same bytes", async () => {
  const once = await trained({ steps: 14, schedule: "constant" });
  const twice = await trained({ steps: 8, schedule: "constant" }, { steps: 14, schedule: "constant" });
  expect(twice.files).toEqual(once.files);
  expect(twice.plan).toContain("to go on after step 8");
  expect(twice.notes).toContain("goes on: optim.steps was 8 and is 14");
  expect(twice.notes).toContain("resuming after step 8");
});

test("so do they before a rate that is stable falls", async () => {
  const wsd = { schedule: "wsd", decay: 0.5 };
  // Of 8 steps the first 4 are stable.
  const once = await trained({ steps: 14, ...wsd });
  const early = await trained({ steps: 8, ...wsd, stopAt: "step 4/8" }, { steps: 14, ...wsd });
  expect(early.notes).toContain("goes on: optim.steps was 8 and is 14");
  expect(early.notes).toContain("resuming after step 4");
  expect(early.files).toEqual(once.files);
  const twice = await trained({ steps: 8, ...wsd }, { steps: 14, ...wsd });
  expect(twice.notes).toContain(
    "runs again: optim.steps was 8 and is 14: by its schedule, wsd, the learning rates so far would have been others",
  );
  expect(twice.files).toEqual(once.files);
});

test("where the rates so far would have been others the stage runs again and says why", async () => {
  const once = await trained({ steps: 14 });
  const twice = await trained({ steps: 8 }, { steps: 14 });
  expect(twice.files).toEqual(once.files);
  const why = "optim.steps was 8 and is 14: by its schedule, cosine, the learning rates so far would have been others";
  expect(twice.plan).toContain(`to run again because ${why}`);
  expect(twice.notes).toContain(`runs again: ${why}`);
});

test("a warm-up that is a share of the steps is another with more of them", async () => {
  const twice = await trained(
    { steps: 8, schedule: "constant", warmup: 0.5 },
    { steps: 14, schedule: "constant", warmup: 0.5 },
  );
  expect(twice.notes).toContain("runs again: optim.steps was 8 and is 14: by its schedule, constant,");
});

test("fewer steps than were trained run again", async () => {
  const once = await trained({ steps: 8, schedule: "constant" });
  const twice = await trained({ steps: 14, schedule: "constant" }, { steps: 8, schedule: "constant" });
  expect(twice.files).toEqual(once.files);
  expect(twice.notes).toContain("runs again: optim.steps was 14 and is 8: it has trained 14 steps");
});

test("another setting besides is told, and runs again", async () => {
  const twice = await trained({ steps: 8, schedule: "constant" }, { steps: 14, schedule: "constant", lr: 1e-3 });
  expect(twice.notes).toMatch(/runs again: optim\.(lr|steps) was/);
  expect(twice.latest).toBe("step-000014");
});
