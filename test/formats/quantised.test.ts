/** Quantised models in files: what is written comes back bit by bit, computes the same, and what is wrong with it is said. */
import { describe, expect, test } from "bun:test";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { probe } from "../../src/app/merge";
import { copyModel, loadModel, openModelFiles, readConfig } from "../../src/formats/checkpoint";
import { openSafetensors } from "../../src/formats/safetensors";
import type { ModelConfig } from "../../src/model/architecture";
import { modelOf } from "../../src/model/model";
import { type Quantisation, quantisations } from "../../src/model/quantised";
import { quantisedWords, Slab } from "../../src/model/slab";
import { device } from "../support/device";
import { temporaryFolder } from "../support/folder";
import { toy, toyModel } from "../support/model";

const tokens = { endOfText: 0, padding: 0 };

/** An odd number of rows and columns beside each other, so that halves do not fill their words. */
const odd: ModelConfig = { ...toy, vocabulary: 53, width: 68, heads: 1 };

async function saved(directory: string, config: ModelConfig, scheme: Quantisation): Promise<Float32Array> {
  using made = toyModel(config, 3, device("cpu"));
  const { values: all } = made;
  const model = modelOf({ ...config, quantised: scheme });
  const values = ({ offset, size }: { offset: number; size: number }) => all.slice(offset, offset + size);
  mkdirSync(directory, { recursive: true });
  const offsets = new Map(made.model.parameters.list.map((parameter) => [parameter.name, parameter]));
  const of = ({ name }: { readonly name: string }) => values(offsets.get(name)!);
  await copyModel(directory, { model, values: of, words: (p) => quantisedWords(p, of(p)) }, tokens);
  return all;
}

describe.each(
  quantisations.flatMap((scheme) =>
    [toy, { ...odd, tied: true }, { ...odd, tied: false }].map((config) => ({ scheme, config })),
  ),
)("$scheme, width $config.width, tied $config.tied", ({ scheme, config }) => {
  test("comes back bit by bit, and computes what the same weights do that were quantised as they were loaded", async () => {
    using folder = temporaryFolder();
    const values = await saved(folder.path, config, scheme);
    expect((await readConfig(folder.path)).quantised).toBe(scheme);
    const read = await loadModel(device("cpu"), folder.path);
    using weights = read.weights;
    const model = modelOf({ ...config, quantised: scheme });
    using own = new Slab(device("cpu"), model.parameters, { values });
    for (const parameter of model.parameters.list) expect(weights.wordsOf(parameter)).toEqual(own.wordsOf(parameter));
    const [a, b] = [
      probe(device("cpu"), { model: read.model, slabs: [weights] }),
      probe(device("cpu"), { model, slabs: [own] }),
    ];
    expect(a).toEqual(b);
  });
  test("gives the numbers that it stands for where float32 is asked for", async () => {
    using folder = temporaryFolder();
    await saved(folder.path, config, scheme);
    using held = await openModelFiles(folder.path);
    using plain = await openModelFiles(folder.path, { storage: "f32" });
    expect(plain.model.config.quantised).toBeUndefined();
    using a = held.load(device("cpu"));
    using b = plain.load(device("cpu"));
    for (const [i, parameter] of plain.model.parameters.list.entries()) {
      expect(b.read(parameter)).toEqual(a.read(held.model.parameters.list[i]!));
      expect(Float32Array.from(plain.values(parameter))).toEqual(b.read(parameter));
    }
  });
});

describe("what is refused by name", () => {
  const config = (path: string) => JSON.parse(readFileSync(join(path, "config.json"), "utf8"));
  const rewrite = (path: string, change: object) =>
    writeFileSync(join(path, "config.json"), JSON.stringify({ ...config(path), ...change }));
  test("another program's quantisation", async () => {
    using folder = temporaryFolder();
    await saved(folder.path, toy, "int8");
    rewrite(folder.path, { quantization_config: { quant_method: "gptq", bits: 4 } });
    await expect(openModelFiles(folder.path)).rejects.toThrow('the model is quantised, by "gptq", which is not read');
  });
  test("another size of groups", async () => {
    using folder = temporaryFolder();
    await saved(folder.path, toy, "int4");
    rewrite(folder.path, { quantization_config: { quant_method: "dawngrad", scheme: "int4", group_size: 32 } });
    await expect(openModelFiles(folder.path)).rejects.toThrow('scheme "int4", group_size 32, which is not read');
  });
  test("a scheme that is not the files'", async () => {
    using folder = temporaryFolder();
    await saved(folder.path, toy, "int8");
    rewrite(folder.path, { quantization_config: { quant_method: "dawngrad", scheme: "nf4" } });
    await expect(openModelFiles(folder.path)).rejects.toThrow("h.0.attn.c_attn.weight.codes is I8");
  });
  test("files that are not quantised", async () => {
    using folder = temporaryFolder();
    await saved(folder.path, toy, "int8");
    rewrite(folder.path, { quantization_config: undefined });
    await expect(openModelFiles(folder.path)).rejects.toThrow("has no tensor wte.weight");
  });
  test("quantising again as it is opened", async () => {
    using folder = temporaryFolder();
    await saved(folder.path, toy, "int8");
    await expect(openModelFiles(folder.path, { storage: "nf4" })).rejects.toThrow("is not quantised again in nf4");
  });
  test("a scale that is no number", async () => {
    using folder = temporaryFolder();
    await saved(folder.path, toy, "int4");
    const path = join(folder.path, "model.safetensors");
    const bytes = readFileSync(path);
    using file = openSafetensors(path);
    const { start } = file.tensors.get("transformer.h.1.mlp.c_fc.weight.scales")!;
    bytes.writeUInt16LE(0x7e00, start + 4);
    writeFileSync(path, bytes);
    await expect(loadModel(device("cpu"), folder.path)).rejects.toThrow(
      "transformer.h.1.mlp.c_fc.weight.scales has NaN at element 2",
    );
  });
});
