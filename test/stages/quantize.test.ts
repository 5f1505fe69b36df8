/** Quantisation as a stage: what it makes is run, adapted and merged as any model is, and is not trained. */
import { expect, test } from "bun:test";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { checkConfig } from "../../src/app/config-file";
import { locateParts } from "../../src/app/locate";
import { mergeModel } from "../../src/app/merge";
import { modelDirectory, openModel } from "../../src/app/model";
import { runPipeline } from "../../src/app/pipeline";
import { readConfig } from "../../src/formats/checkpoint";
import { sampling } from "../../src/generate/sampling";
import { device } from "../support/device";
import { temporaryFolder } from "../support/folder";

interface Made {
  readonly notes: readonly string[];
  readonly directory: string;
}

async function run(folder: string, stages: readonly object[]): Promise<Made> {
  const text = join(folder, "text.txt");
  writeFileSync(text, "the cat sat on the mat. ".repeat(200));
  const records = join(folder, "records.jsonl");
  writeFileSync(
    records,
    Array.from({ length: 40 }, (_, i) =>
      JSON.stringify({ instruction: "the cat", output: i % 2 ? "sat" : "mat" }),
    ).join("\n"),
  );
  const pretrain = {
    kind: "pretrain",
    data: text,
    batch: { rows: 4, tokens: 32 },
    optim: { steps: 30, lr: 0.01, warmup: 0 },
    evaluate: { every: 30 },
    save: { every: 30 },
  };
  const given = stages.map((stage) =>
    Object.fromEntries(
      Object.entries(stage).map(([key, value]) => [
        key,
        value === "TEXT" ? text : value === "RECORDS" ? records : value,
      ]),
    ),
  );
  const config = checkConfig({
    name: "quantised",
    model: { layers: 2, heads: 2, width: 64, context: 64 },
    tokenizer: { kind: "bpe", size: 300 },
    stage: [pretrain, ...given],
  });
  const directory = join(folder, "run");
  mkdirSync(directory, { recursive: true });
  const notes: string[] = [];
  await runPipeline(config, {
    device: device("cpu"),
    directory,
    console: { colour: false, note: (text) => notes.push(text), status() {}, done() {} },
    signal: new AbortController().signal,
    write() {},
  });
  return { notes, directory };
}

const sft = {
  kind: "sft",
  data: "RECORDS",
  template: "instruction",
  batch: { rows: 2, tokens: 64 },
  optim: { steps: 4, warmup: 0 },
  evaluate: { every: 4 },
  save: { every: 4 },
};

test.each(["int8", "int4", "nf4"])("%s: is measured, written, adapted, and merged", async (scheme) => {
  using folder = temporaryFolder();
  const { notes, directory } = await run(folder.path, [
    {
      kind: "quantize",
      scheme,
      data: "TEXT",
      ...(scheme === "int4" && { calibration: "RECORDS", template: "instruction" }),
    },
    { ...sft, lora: { rank: 4, targets: ["all-linear"] } },
  ]);
  const told = notes.filter((note) => note.startsWith("quantize: "));
  expect(told[0]).toContain(`8 matrices in ${scheme}, the table in int8`);
  expect(told[0]).toContain("in f32 stay wpe.weight, h.*.ln_1.weight");
  const figures = JSON.parse(readFileSync(join(directory, "quantize", "model", "quantization.json"), "utf8"));
  expect(figures.measured.tokens).toBeGreaterThan(1000);
  expect(figures.measured.perplexity.after / figures.measured.perplexity.before).toBeLessThan(
    scheme === "int8" ? 1.002 : 1.1,
  );
  expect(figures.measured.divergence).toBeGreaterThan(0);
  expect(figures.measured.divergence).toBeLessThan(scheme === "int8" ? 1e-3 : 0.1);
  expect(notes.join("\n")).toContain(`is frozen and held in ${scheme}`);
  const quantised = modelDirectory(join(directory, "quantize"));
  expect((await readConfig(quantised)).quantised).toBe(scheme as "int8");

  const silent = { colour: false, note() {}, status() {}, done() {} };
  const parts = await locateParts(join(directory, "sft"), silent);
  expect(parts.adapters).toHaveLength(1);
  const merged = join(folder.path, "merged");
  await mergeModel(parts, merged);
  expect((await readConfig(merged)).quantised).toBeUndefined();
  using adapted = await openModel(device("cpu"), parts);
  using whole = await openModel(device("cpu"), merged);
  expect(adapted.model.parameters.storage).toBe(scheme as "int8");
  const ids = ({ engine, tokenizer }: typeof adapted) => [
    ...engine.generate([tokenizer.encode("the cat")], sampling.parse({ temperature: 0, maxTokens: 20 })),
  ];
  expect(ids(adapted)).toEqual(ids(whole));
});

test("is refused where it is to be trained whole, quantised again, or calibrated for nothing", async () => {
  using folder = temporaryFolder();
  const quantize = { kind: "quantize", scheme: "int8" };
  await expect(run(folder.path, [quantize, sft])).rejects.toThrow(
    "the model is quantised in int8, and only numbers in f32 can be trained",
  );
  await expect(run(folder.path, [quantize, { ...sft, lora: { base: "nf4" } }])).rejects.toThrow(
    "the model is quantised in int8, and lora.base is nf4",
  );
  await expect(run(folder.path, [quantize, { ...quantize, name: "again" }])).rejects.toThrow(
    "the model is quantised already, in int8",
  );
  await expect(run(folder.path, [{ ...quantize, calibration: "TEXT" }])).rejects.toThrow(
    "a calibration counts for nothing with int8",
  );
});
