/** What runs again and what is kept: folders of older versions, tokenizers, templates, results set aside. */
import { describe, expect, test } from "bun:test";
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { checkConfig } from "../../src/app/config-file";
import { outputOf } from "../../src/app/decide";
import { hasher } from "../../src/app/hasher";
import { modelDirectory } from "../../src/app/model";
import { type Choice, runPipeline } from "../../src/app/pipeline";
import { planOf } from "../../src/app/plan";
import { readStageFile } from "../../src/app/stage-file";
import { silent } from "../support/console";
import { device } from "../support/device";
import { temporaryFolder } from "../support/folder";

interface Change {
  readonly lr?: number;
  readonly sftLr?: number;
  readonly size?: number;
  readonly template?: string;
  readonly lora?: object;
}

function configIn(folder: string, { lr = 3e-3, sftLr = 1e-3, size = 300, template = "instruction", lora }: Change) {
  const shape = { evaluate: { every: 4, batches: 2 }, save: { every: 2 } };
  return checkConfig({
    name: "two",
    model: { layers: 1, heads: 1, width: 16, context: 64 },
    tokenizer: { kind: "bpe", size },
    stage: [
      {
        kind: "pretrain",
        data: join(folder, "text.txt"),
        ...shape,
        batch: { rows: 4, tokens: 24 },
        optim: { steps: 8, lr },
      },
      {
        kind: "sft",
        data: join(folder, "a.jsonl"),
        template,
        ...shape,
        batch: { rows: 4, tokens: 64 },
        optim: { steps: 6, lr: sftLr },
        ...(lora && { lora }),
      },
    ],
  });
}

function begun(): { readonly path: string; readonly run: string } & Disposable {
  const folder = temporaryFolder();
  const { path } = folder;
  writeFileSync(join(path, "text.txt"), "what is it? it is a number 0123456. ".repeat(60));
  const record = (i: number) => JSON.stringify({ prompt: `what is ${i % 7}`, completion: `it is ${i % 5}` });
  writeFileSync(join(path, "a.jsonl"), Array.from({ length: 30 }, (_, i) => `${record(i)}\n`).join(""));
  return { path, run: join(path, "run"), [Symbol.dispose]: () => folder[Symbol.dispose]() };
}

/** Notes of a sitting; `stopAt` is a note that Ctrl-C comes with. */
async function sitting(
  folder: string,
  change: Change = {},
  { stopAt = "", ...choice }: Choice & { stopAt?: string } = {},
) {
  const notes: string[] = [];
  const controller = new AbortController();
  await runPipeline(configIn(folder, change), {
    device: device("cpu"),
    directory: join(folder, "run"),
    console: {
      ...silent,
      note(text) {
        notes.push(text);
        if (stopAt && text.includes(stopAt)) controller.abort();
      },
    },
    signal: controller.signal,
    write() {},
    choice,
  });
  return notes;
}

const trained = (notes: readonly string[]) => notes.flatMap((note) => /^(\w+): finished after/.exec(note)?.[1] ?? []);
const resultOf = (run: string) => readFileSync(join(modelDirectory(run), "model.safetensors"));

describe("a run made before there were stage files", () => {
  async function older(): Promise<ReturnType<typeof begun>> {
    const folder = begun();
    await sitting(folder.path);
    for (const name of ["pretrain", "sft", "tokenizer"]) rmSync(join(folder.run, name, "stage.json"));
    return folder;
  }
  test("is left as it is where its config is the same, also in part", async () => {
    using folder = await older();
    expect(trained(await sitting(folder.path, {}, { from: "sft" }))).toEqual([]);
    expect(trained(await sitting(folder.path))).toEqual([]);
  });
  test("runs again what changed and what stood on it", async () => {
    using folder = await older();
    const plan = (await planOf(configIn(folder.path, { lr: 1e-3 }), { directory: folder.run, console: silent })).text;
    expect(plan).toContain("pretrain (pretrain) <- new: to run again because optim.lr was 0.003 and is 0.001");
    expect(plan).toContain("sft (sft) <- pretrain: to run again if pretrain has another result");
    expect(existsSync(join(folder.run, "pretrain", "stage.json"))).toBe(false);
    expect(trained(await sitting(folder.path, { lr: 1e-3 }))).toEqual(["pretrain", "sft"]);
  });
  test("also where the first sitting after the change is cut off", async () => {
    using folder = await older();
    await sitting(folder.path, { lr: 1e-3 }, { stopAt: "pretrain  step 4" });
    expect(trained(await sitting(folder.path, { lr: 1e-3 }))).toEqual(["pretrain", "sft"]);
  });
  test("runs again for another tokenizer", async () => {
    using folder = await older();
    expect(trained(await sitting(folder.path, { size: 262 }))).toEqual(["pretrain", "sft"]);
  });
  test("cannot be planned where its data are gone, as it could not be run", async () => {
    using folder = await older();
    rmSync(join(folder.path, "a.jsonl"));
    const planned = (choice = {}) =>
      planOf(configIn(folder.path, {}), { directory: folder.run, console: silent, choice });
    await expect(planned()).rejects.toThrow(/a\.jsonl cannot be read: there is no such file/);
    expect((await planned({ keepGoing: true })).text).toMatch(
      /sft \(sft\) <- pretrain: cannot be run: .*a\.jsonl cannot be read: there is no such file/,
    );
  });
  test("whose config is gone is set aside", async () => {
    using folder = await older();
    rmSync(join(folder.run, "run.json"));
    const notes = await sitting(folder.path);
    expect(trained(notes)).toEqual(["pretrain", "sft"]);
    expect(notes.find((note) => note.startsWith("pretrain: runs again"))).toContain(
      "what it was made from is not known",
    );
  });
});

test("a tokenizer whose file is gone is made again, and what stands on it stays", async () => {
  using folder = begun();
  await sitting(folder.path);
  const file = join(folder.run, "tokenizer", "tokenizer.json");
  const before = readFileSync(file, "utf8");
  rmSync(file);
  expect(trained(await sitting(folder.path))).toEqual([]);
  expect(readFileSync(file, "utf8")).toBe(before);
});

test("a tokenizer is made again with what stands on it, and comes back", async () => {
  using folder = begun();
  await sitting(folder.path);
  const before = resultOf(folder.run);
  const plan = (await planOf(configIn(folder.path, { size: 262 }), { directory: folder.run, console: silent })).text;
  expect(plan).toContain("<- new: to run again if the tokenizer has another result");
  const notes = await sitting(folder.path, { size: 262 });
  expect(notes.find((note) => note.startsWith("tokenizer: runs again"))).toContain("size was 300 and is 262");
  expect(trained(notes)).toEqual(["pretrain", "sft"]);
  for (const size of [300, 262, 300]) expect(trained(await sitting(folder.path, { size }))).toEqual([]);
  expect(resultOf(folder.run)).toEqual(before);
});

test("a template's file is part of what a stage is made from", async () => {
  using folder = begun();
  const template = join(folder.path, "t.jinja");
  const write = (after: string) =>
    writeFileSync(
      template,
      `{% for m in messages %}{{ m.role }}${after} {% generation %}{{ m.content }}{% endgeneration %}\n{% endfor %}`,
    );
  write(":");
  await sitting(folder.path, { template });
  write(">");
  const notes = await sitting(folder.path, { template });
  expect(trained(notes)).toEqual(["sft"]);
  expect(notes.find((note) => note.startsWith("sft: runs again"))).toContain("t.jinja has changed");
});

test("what was set aside comes back also where nothing, or a mere beginning, is in its place", async () => {
  using folder = begun();
  await sitting(folder.path);
  const before = resultOf(folder.run);
  await sitting(folder.path, { sftLr: 1e-2 });
  rmSync(join(folder.run, "sft"), { recursive: true });
  expect(trained(await sitting(folder.path))).toEqual([]);
  expect(resultOf(folder.run)).toEqual(before);
  // Cut off after the old one was set aside, and before a first checkpoint.
  const file = readStageFile(join(folder.run, "sft"))!;
  await sitting(folder.path, { sftLr: 1e-2 });
  for (const name of readdirSync(join(folder.run, "sft")))
    if (name !== "stage.json") rmSync(join(folder.run, "sft", name), { recursive: true });
  writeFileSync(join(folder.run, "sft", "stage.json"), JSON.stringify({ state: "begun", key: "0", parts: { x: "1" } }));
  expect(trained(await sitting(folder.path))).toEqual([]);
  expect(resultOf(folder.run)).toEqual(before);
  expect(readStageFile(join(folder.run, "sft"))!.key).toBe(file.key);
});

test("--fresh makes a result anew, also where an equal one is set aside", async () => {
  using folder = begun();
  await sitting(folder.path);
  await sitting(folder.path, { sftLr: 1e-2 });
  const notes = await sitting(folder.path, {}, { only: ["sft"], fresh: true });
  expect(trained(notes)).toEqual(["sft"]);
  expect(notes).toContain("sft: begun anew; its old result is removed");
});

test("what is recorded of a stage says by what and when it was made, and its key does not", async () => {
  using folder = begun();
  await sitting(folder.path, {}, { stopAt: "sft  step 4" });
  const { state, key, made, parts } = readStageFile(join(folder.run, "sft"))!;
  expect([state, made?.finished]).toEqual(["begun", undefined]);
  await sitting(folder.path);
  const after = readStageFile(join(folder.run, "sft"))!;
  expect(after).toMatchObject({ state: "finished", key, parts, made: { began: made!.began, device: made!.device } });
  expect(Date.parse(after.made!.finished!)).toBeGreaterThan(Date.parse(made!.began));
  expect(Object.keys(parts).some((name) => /device|program|began/.test(name))).toBe(false);
});

test("an adapter whose base has changed is taken by nobody", async () => {
  using folder = begun();
  await sitting(folder.path, { lora: { rank: 2 } });
  const { console, hasher: files } = { console: silent, hasher: hasher({}) };
  const output = () => outputOf("sft", { directory: folder.run, console, hasher: files });
  const before = await output();
  expect(readStageFile(join(folder.run, "sft"))!.output).toBe(before);
  const base = join(modelDirectory(join(folder.run, "pretrain")), "model.safetensors");
  const bytes = readFileSync(base);
  bytes[bytes.length - 1]! ^= 1;
  writeFileSync(base, bytes);
  await expect(output()).rejects.toThrow("was trained on other weights than those that are in");
  await Bun.sleep(0);
  const again = sitting(folder.path, { lora: { rank: 2 } });
  await expect(again).rejects.toThrow("is not what pretrain made when it finished");
  await again.catch(() => {});
});

test("a merged base that does not say what it was merged from is not taken for another adapter's", async () => {
  using one = begun();
  using other = begun();
  await sitting(one.path, { lora: { rank: 2 } });
  await sitting(other.path, { lora: { rank: 2 }, sftLr: 1e-2 });
  using folder = temporaryFolder();
  const go = async (from: string) => {
    const { stage } = configIn(one.path, {});
    const config = checkConfig({ name: "more", model: { from }, stage: [{ ...stage[1]!, name: "more" }] });
    const signal = new AbortController().signal;
    const directory = join(folder.path, "run");
    await runPipeline(config, { device: device("cpu"), directory, console: silent, signal, write() {} });
    return readdirSync(directory)
      .filter((name) => name.startsWith("base"))
      .sort();
  };
  expect(await go(one.run)).toEqual(["base"]);
  // As older versions left it.
  rmSync(join(folder.path, "run", "base", "made-from"));
  rmSync(join(folder.path, "run", "more", "stage.json"));
  const [first, second = ""] = await go(other.run);
  const weights = (base: string) => readFileSync(join(folder.path, "run", base, "model.safetensors"));
  expect(first).toBe("base");
  expect(second).toMatch(/^base@[0-9a-f]{8}$/);
  expect(weights(second).equals(weights("base"))).toBe(false);
});
