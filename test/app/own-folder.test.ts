/** Runs, exports and merges never go into the folder of a model, least of all of the one that they read. */
import { expect, test } from "bun:test";
import { mkdirSync, readdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { checkConfig } from "../../src/app/config-file";
import { exportGguf, exportSafetensors } from "../../src/app/export";
import { expectNoModel } from "../../src/app/model";
import { runPipeline } from "../../src/app/pipeline";
import { planOf } from "../../src/app/plan";
import { writeModel } from "../../src/formats/checkpoint";
import { modelOf } from "../../src/model/model";
import { initialise } from "../../src/model/parameters";
import { Slab } from "../../src/model/slab";
import { trainBpe } from "../../src/text/bpe";
import { tokenizerFrom, writeTokenizer } from "../../src/text/tokenizer";
import { silent } from "../support/console";
import { device } from "../support/device";
import { temporaryFolder } from "../support/folder";

const tokenizer = tokenizerFrom(trainBpe(["the cat sat on the mat. ".repeat(20)], { size: 257 }));

async function modelIn(path: string): Promise<string> {
  mkdirSync(path, { recursive: true });
  const model = modelOf({
    type: "gpt2",
    vocabulary: tokenizer.size,
    context: 16,
    layers: 1,
    heads: 1,
    width: 16,
    epsilon: 1e-5,
  });
  using weights = new Slab(device("cpu"), model.parameters, { values: initialise(model.parameters, 9) });
  await writeModel(path, model, weights, tokenizer);
  await writeTokenizer(path, tokenizer.files);
  return path;
}

const configOf = (from: string, data: string) =>
  checkConfig({
    model: { from },
    stage: [{ kind: "pretrain", data, validation: data, batch: { tokens: 16 }, optim: { steps: 1 } }],
  });

function run(from: string, directory: string, data: string) {
  const signal = new AbortController().signal;
  return runPipeline(configOf(from, data), { device: device("cpu"), directory, console: silent, signal, write() {} });
}

test("a run in the folder of a model, or in one that it reads from, is refused before anything is written", async () => {
  using folder = temporaryFolder();
  const data = join(folder.path, "a.txt");
  writeFileSync(data, "the cat sat on the mat. ".repeat(50));
  const model = await modelIn(join(folder.path, "model"));
  const before = readdirSync(model);
  await expect(run(model, model, data)).rejects.toThrow(`${model} is the folder of a model: it has config.json`);
  const plan = planOf(configOf(model, data), { directory: model, console: silent });
  await expect(plan).rejects.toThrow(`${model} is the folder of a model`);
  await expect(run(model, `${model}/`, data)).rejects.toThrow("is the folder of a model");
  symlinkSync("model", join(folder.path, "link"));
  await expect(run(model, join(folder.path, "link"), data)).rejects.toThrow("is the folder of a model");
  await expect(run(await modelIn(join(folder.path, "other")), model, data)).rejects.toThrow("is the folder of a model");
  expect(readdirSync(model)).toEqual(before);

  const inside = await modelIn(join(folder.path, "run", "mine"));
  await expect(run(inside, join(folder.path, "run"), data)).rejects.toThrow("mine lies in the run's own folder");
  expect(readdirSync(join(folder.path, "run"))).toEqual(["mine"]);
});

test("so is the folder of an adapter, of a stage, and of what a stage has made", async () => {
  using folder = temporaryFolder();
  for (const [i, name] of ["adapter_config.json", "checkpoints.json", "stage.json", "model/config.json"].entries()) {
    const path = join(folder.path, String(i));
    mkdirSync(join(path, "model"), { recursive: true });
    writeFileSync(join(path, name), "{}");
    expect(() => expectNoModel(path)).toThrow(`${path} is the folder of a model: it has ${name}`);
  }
  writeFileSync(join(folder.path, "run.json"), "{}");
  expectNoModel(folder.path);
  expectNoModel(join(folder.path, "nowhere"));
});

test("an export stands beside what is there, and takes nothing's place", async () => {
  using folder = temporaryFolder();
  const model = await modelIn(join(folder.path, "model"));
  const at = (name: string) => join(folder.path, name);
  for (const name of ["keep.tmp", "keep.gguf.tmp"]) writeFileSync(at(name), "mine");
  await exportSafetensors(model, at("keep/"));
  await exportGguf(model, at("keep.gguf"), "f32");
  await expect(exportSafetensors(model, model)).rejects.toThrow("model is there already");
  await expect(exportGguf(model, model, "f32")).rejects.toThrow("model is there already");
  await expect(exportGguf(model, at("new/"), "f32")).rejects.toThrow("new/ is a folder, and GGUF is one file");
  await expect(exportGguf(model, at("keep.gguf/x"), "f32")).rejects.toThrow("a part of its path is a file");
  expect(readdirSync(folder.path).sort()).toEqual(["keep", "keep.gguf", "keep.gguf.tmp", "keep.tmp", "model"]);
});
