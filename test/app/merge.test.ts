/** Adapters on disk: found with their base, stacked, left out, and merged into a model of its own. */

import { describe, expect, test } from "bun:test";
import { existsSync, mkdirSync, readdirSync, renameSync } from "node:fs";
import { join } from "node:path";
import { locateParts } from "../../src/app/locate";
import { largestDifference, mergeModel } from "../../src/app/merge";
import { openModel } from "../../src/app/model";
import { writeModel } from "../../src/formats/checkpoint";
import { writeAdapter } from "../../src/formats/peft";
import { adapterOf, targeted } from "../../src/model/lora";
import { modelOf } from "../../src/model/model";
import { initialise, type Storage } from "../../src/model/parameters";
import { Slab } from "../../src/model/slab";
import { trainCharacters } from "../../src/text/characters";
import { tokenizerFrom, writeTokenizer } from "../../src/text/tokenizer";
import { silent } from "../support/console";
import { device, onEachDevice } from "../support/device";
import { temporaryFolder } from "../support/folder";
import { toy, toyModel } from "../support/model";

const tokenizer = tokenizerFrom(trainCharacters(["abcdefghijklmnopqrstuvwxyz"]));

/** base/, and an adapter in run/sft/step-000001 that names it by a relative path. */
async function write(
  folder: string,
  name: string,
  {
    patterns,
    seed = 5,
    trainedOn = "f32" as Storage,
    dora = false,
    reach = 0.25,
    alpha = 4,
  }: {
    readonly patterns: readonly string[];
    readonly seed?: number;
    readonly trainedOn?: Storage;
    readonly dora?: boolean;
    readonly reach?: number;
    readonly alpha?: number;
  },
): Promise<string> {
  using made = toyModel();
  const base = join(folder, "base");
  if (!existsSync(base)) {
    mkdirSync(base);
    await writeModel(base, made.model, made.weights, tokenizer);
    await writeTokenizer(base, tokenizer.files);
  }
  const directory = join(folder, name);
  mkdirSync(directory, { recursive: true });
  const adapter = adapterOf(targeted(modelOf(toy).modules, patterns), {
    rank: 4,
    alpha,
    dropout: 0,
    rslora: false,
    dora,
  });
  const values = initialise(adapter.parameters, seed);
  for (const { name, offset, size } of adapter.parameters.list)
    if (name.endsWith("lora_B.weight"))
      for (let i = offset; i < offset + size; i++) values[i] = reach * Math.sin(i * seed);
  using weights = new Slab(device(), adapter.parameters, { values });
  await writeAdapter(directory, { adapter, weights, base: "../base", trainedOn });
  return directory;
}

onEachDevice(() => {
  test.each([
    ["linear layers", { patterns: ["all-linear"] }],
    ["the head too", { patterns: ["c_attn", "head"] }],
    ["DoRA", { patterns: ["all-linear"], dora: true }],
    ["a base in nf4", { patterns: ["all-linear"], trainedOn: "nf4" as const }],
    ["a base in bf16", { patterns: ["all-linear"], trainedOn: "bf16" as const }],
    ["a base in f16", { patterns: ["attn.*"], trainedOn: "f16" as const }],
    ["a base in int8", { patterns: ["mlp.c_fc"], trainedOn: "int8" as const }],
  ])("a merged model equals the adapter model: %s", async (_name, options) => {
    using folder = temporaryFolder();
    const parts = await locateParts(await write(folder.path, "adapter", options), silent);
    const out = join(folder.path, "deep", "merged");
    const { trainedOn } = await mergeModel(parts, out);
    expect(readdirSync(join(folder.path, "deep"))).toEqual(["merged"]);
    using adapted = await openModel(device(), parts);
    using merged = await openModel(device(), out);
    expect(adapted.weights.parameters.storage).toBe(trainedOn);
    expect(largestDifference(device(), adapted, merged)).toBeLessThan(1e-4);
    using plain = await openModel(device(), await locateParts(parts.adapters[0]!, silent, { baseOnly: true }));
    expect(largestDifference(device(), plain, merged)).toBeGreaterThan(0.1);
  });

  test("left out, an adapter changes nothing: the base, bit for bit", async () => {
    using folder = temporaryFolder();
    const adapter = await write(folder.path, "adapter", { patterns: ["all-linear"] });
    using without = await openModel(device(), await locateParts(adapter, silent, { baseOnly: true }));
    using base = await openModel(device(), join(folder.path, "base"));
    expect(largestDifference(device(), without, base)).toBe(0);
  });

  test("stacked adapters are both there, and merge together", async () => {
    using folder = temporaryFolder();
    const one = await write(folder.path, "one", { patterns: ["c_attn"] });
    const two = await write(folder.path, "two", { patterns: ["mlp.c_fc"], seed: 9 });
    const parts = await locateParts(one, silent, { adapters: [two] });
    expect(parts.adapters).toEqual([one, two]);
    const out = join(folder.path, "merged");
    await mergeModel(parts, out);
    using stacked = await openModel(device(), parts);
    using merged = await openModel(device(), out);
    using alone = await openModel(device(), await locateParts(one, silent));
    expect(largestDifference(device(), stacked, merged)).toBeLessThan(1e-4);
    expect(largestDifference(device(), stacked, alone)).toBeGreaterThan(0.01);
  });
});

describe("what cannot be merged or opened is refused with one sentence", () => {
  test("a model without adapters, a folder that is there, adapters of two bases, DoRA stacked, a base that is gone", async () => {
    using folder = temporaryFolder();
    const one = await write(folder.path, "one", { patterns: ["c_attn"] });
    const nf4 = await write(folder.path, "two", { patterns: ["c_attn"], trainedOn: "nf4" });
    const dora = await write(folder.path, "dora", { patterns: ["c_attn"], dora: true });
    const base = join(folder.path, "base");
    const merge = async (given: string, adapters: string[], out = "new") =>
      mergeModel(await locateParts(given, silent, { adapters }), join(folder.path, out));
    await expect(merge(base, [])).rejects.toThrow("has no adapter to merge");
    await expect(merge(one, [], "base")).rejects.toThrow("base is there already");
    await expect(merge(one, [nf4])).rejects.toThrow("was trained on a base in f32, and");
    await expect(locateParts(base, silent, { adapters: [base] })).rejects.toThrow("is not an adapter");
    const both = await locateParts(one, silent, { adapters: [dora] });
    await expect(openModel(device("cpu"), both)).rejects.toThrow("a DoRA adapter cannot be stacked with another");
    await expect(merge(one, [dora])).rejects.toThrow("a DoRA adapter cannot be stacked with another");
    expect(readdirSync(folder.path).sort()).toEqual(["base", "dora", "one", "two"]);
    renameSync(base, join(folder.path, "elsewhere"));
    await expect(locateParts(one, silent)).rejects.toThrow("is for ../base, which is not there");
  });

  test("what would be past all use once it is merged, which neither is alone", async () => {
    using folder = temporaryFolder();
    const large = await write(folder.path, "large", { patterns: ["mlp.c_fc"], reach: 1e16, alpha: 1e5 });
    const parts = await locateParts(large, silent);
    await expect(mergeModel(parts, join(folder.path, "new"))).rejects.toThrow(
      /^merged, h\.0\.mlp\.c_fc\.weight has -?\d{19,} at element \d+$/,
    );
    expect(readdirSync(folder.path).sort()).toEqual(["base", "large"]);
  });
});
