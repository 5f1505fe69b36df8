/** Adapters: PEFT's own files, logits and gradients (test/golden/peft_adapters.py), merging, stacking, and what they must not change. */

import { describe, expect, test } from "bun:test";
import { cpSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Program } from "../../src/autograd/program";
import { loadModel } from "../../src/formats/checkpoint";
import { openAdapter, readAdapter, writeAdapter } from "../../src/formats/peft";
import { HEAD } from "../../src/model/architecture";
import { adapterOf, columnNorms, mergeInto, scaleOf, targeted } from "../../src/model/lora";
import { type Model, modelOf, withAdapters } from "../../src/model/model";
import { initialise } from "../../src/model/parameters";
import { nll } from "../../src/model/row-losses";
import { bindAll, Slab } from "../../src/model/slab";
import { Optimizer } from "../../src/optim/optimizer";
import { input } from "../../src/tensor/tensor";
import { trainingProgram } from "../../src/train/program";
import golden from "../golden/peft/results.json";
import { device, onEachDevice } from "../support/device";
import { temporaryFolder } from "../support/folder";
import { toy, toyModel } from "../support/model";
import { largestError } from "../support/oracle";

const base = "test/golden/layouts/transformers";
const folder = (name: string) => join("test/golden/peft", name);
const ids = Uint32Array.from(golden.tokens);
const T = ids.length;
const bound = (...slabs: Slab[]) => bindAll(slabs);

function graphOf(model: Model, options: { readonly recompute?: boolean } = {}) {
  const [tokens, positions] = [input("tokens", [T], "u32"), input("positions", [T], "u32")];
  return { tokens, positions, hidden: model.hidden(tokens, positions, { length: T, ...options }) };
}

function logitsOf(model: Model, ...slabs: Slab[]): Float32Array {
  const { tokens, positions, hidden } = graphOf(model);
  const logits = model.logits(hidden);
  using program = new Program(device(), [logits], { bind: bound(...slabs) });
  program.feed(tokens, ids);
  program.feed(
    positions,
    ids.map((_, i) => i),
  );
  program.run();
  return program.read(logits);
}

onEachDevice(() => {
  describe.each(Object.entries(golden.adapters))("PEFT's %s adapter", (name, wanted) => {
    test("gives PEFT's logits; switched off, the base's, bit for bit", async () => {
      const { model, weights } = await loadModel(device(), base);
      using _weights = weights;
      using files = openAdapter(folder(name), model);
      using adapter = files.load(device());
      expect(
        largestError(logitsOf(withAdapters(model, [files.adapter]), weights, adapter), wanted.logits),
      ).toBeLessThan(1e-5);
      expect(largestError(logitsOf(model, weights), wanted.base)).toBeLessThan(1e-5);
      expect(logitsOf(withAdapters(model, []), weights)).toEqual(logitsOf(model, weights));
    });

    test.each([false, true])("gives PEFT's loss and gradients, recompute %p", async (recompute) => {
      const { model, weights } = await loadModel(device(), base);
      using _weights = weights;
      using files = openAdapter(folder(name), model);
      using adapter = files.load(device());
      using optimizer = new Optimizer(device(), [{ weights: adapter }], {
        beta1: 0.9,
        beta2: 0.999,
        epsilon: 1e-8,
        weightDecay: 0,
        clip: 0,
      });
      const adapted = withAdapters(model, [files.adapter]);
      const [targets, weight] = [input("targets", [T], "u32"), input("weight", [1])];
      const { tokens, positions, hidden } = graphOf(adapted, { recompute });
      const graph = adapted.loss(hidden, nll(targets), weight);
      using program = trainingProgram(device(), graph, {
        trained: [{ weights: adapter }],
        frozen: [weights],
        optimizer,
      });
      program.feed(tokens, ids);
      program.feed(
        positions,
        ids.map((_, i) => i),
      );
      program.feed(
        targets,
        ids.map((_, i) => ids[i + 1] ?? 0xffffffff),
      );
      program.feed(weight, new Float32Array([1 / (T - 1)]));
      optimizer.zero();
      program.run();
      optimizer.update(0, 0);
      expect(Math.abs(optimizer.read().sums[0]! / wanted.loss - 1)).toBeLessThan(1e-5);
      for (const parameter of adapter.parameters.list) {
        const expected = (wanted.gradients as Record<string, number[]>)[parameter.name]!;
        expect(largestError(optimizer.gradients[0]!.read(parameter), expected), parameter.name).toBeLessThan(2e-4);
      }
    });

    test("merged gives the same logits", async () => {
      const { model, weights } = await loadModel(device(), base);
      using _weights = weights;
      using files = openAdapter(folder(name), model);
      const untied = name === "head";
      const merged = modelOf({ ...model.config, ...(untied && { tied: false }) });
      using onto = new Slab(device(), merged.parameters);
      for (const p of merged.parameters.list) {
        const source = model.parameters.list.find(
          (q) => q.name === (p.name === "lm_head.weight" ? "wte.weight" : p.name),
        )!;
        const values = weights.read(source);
        const module = model.modules.find((m) => `${m.name}.weight` === p.name);
        if (module) mergeInto(values, module, files);
        onto.write(p, values);
      }
      const error = largestError(logitsOf(merged, onto), wanted.logits);
      expect(error).toBeLessThan(1e-5);
    });
  });

  test("stacked adapters add up", async () => {
    const { model, weights } = await loadModel(device(), base);
    using _weights = weights;
    using one = openAdapter(folder("lora"), model);
    using two = openAdapter(folder("rslora"), model);
    using a = one.load(device());
    using b = two.load(device());
    using onto = new Slab(device(), model.parameters);
    for (const p of model.parameters.list) {
      const values = weights.read(p);
      const module = model.modules.find((m) => `${m.name}.weight` === p.name);
      if (module) for (const files of [one, two]) mergeInto(values, module, files);
      onto.write(p, values);
    }
    const stacked = withAdapters(model, [one.adapter, two.adapter]);
    expect(largestError(logitsOf(stacked, weights, a, b), logitsOf(model, onto))).toBeLessThan(1e-5);
  });

  test.each([false, true])("a new adapter changes nothing at first, DoRA %p", (dora) => {
    using made = toyModel();
    const adapter = adapterOf(targeted(modelOf(toy).modules, ["all-linear", ...(dora ? [] : ["head"])]), {
      rank: 4,
      alpha: 8,
      dropout: 0,
      rslora: false,
      dora,
    });
    const values = initialise(adapter.parameters, 1);
    for (const { name, inputs, outputs } of modelOf(toy).modules) {
      const magnitude = adapter.parameters.list.find((p) => p.name === `${name}.lora_magnitude_vector`);
      const weight = made.model.parameters.list.find((p) => p.name === `${name}.weight`);
      if (magnitude) values.set(columnNorms(made.weights.read(weight!), inputs, outputs), magnitude.offset);
    }
    using slab = new Slab(device(), adapter.parameters, { values });
    const plain = logitsOf(made.model, made.weights);
    const adapted = logitsOf(withAdapters(made.model, [adapter]), made.weights, slab);
    if (dora) expect(largestError(adapted, plain)).toBeLessThan(1e-5);
    else expect(adapted).toEqual(plain);
  });

  test("an adapter written and read again is the same bit for bit", async () => {
    using temporary = temporaryFolder();
    using made = toyModel();
    const settings = { rank: 3, alpha: 5, dropout: 0.1, rslora: true, dora: false };
    const adapter = adapterOf(targeted(modelOf(toy).modules, ["c_proj", "head"]), settings);
    using slab = new Slab(device(), adapter.parameters, { values: initialise(adapter.parameters, 9) });
    await writeAdapter(temporary.path, { adapter, weights: slab, base: "gpt2", trainedOn: "nf4" });
    using again = openAdapter(temporary.path, made.model);
    expect(again).toMatchObject({ base: "gpt2", trainedOn: "nf4" });
    expect(again.adapter.settings).toEqual(settings);
    using loaded = again.load(device());
    expect(loaded.download()).toEqual(slab.download());
    device().upload(loaded.slice(0, 8), new Float32Array(8));
    readAdapter(temporary.path, loaded);
    expect(loaded.download()).toEqual(slab.download());
  });
});

describe("patterns", () => {
  const names = (...patterns: string[]) => targeted(modelOf(toy).modules, patterns).map(({ name }) => name);
  test("name the ends of layers' names", () => {
    expect(names("attn.c_attn")).toEqual(["h.0.attn.c_attn", "h.1.attn.c_attn"]);
    expect(names("c_proj")).toHaveLength(4);
    expect(names("h.1.*")).toHaveLength(4);
    expect(names("all-linear")).toHaveLength(8);
    expect(names("head", "mlp.c_fc").at(-1)).toBe(HEAD);
    expect(names("proj")).toEqual([]);
  });
  test("rsLoRA scales by the root of the rank", () => {
    const settings = { rank: 16, alpha: 8, dropout: 0, dora: false };
    expect(scaleOf({ ...settings, rslora: false }, 16)).toBe(0.5);
    expect(scaleOf({ ...settings, rslora: true }, 16)).toBe(2);
  });
});

describe("an adapter that does not fit is refused with one sentence", () => {
  const config = { type: "gpt2", vocabulary: 37, context: 12, layers: 2, heads: 2, width: 16, epsilon: 1e-5 };
  test("of another width, with more layers, or with another head", () => {
    expect(() => openAdapter(folder("lora"), modelOf({ ...config, width: 32 }))).toThrow(
      "lora_A.weight has shape [4,16], expected [4,32]",
    );
    expect(() => openAdapter(folder("lora"), modelOf({ ...config, layers: 1 }))).toThrow(
      "adapts h.1.attn.c_attn, which the model does not have",
    );
    expect(() => openAdapter(folder("head"), modelOf({ ...config, vocabulary: 40 }))).toThrow(
      "lm_head.lora_B.weight has shape [37,3]",
    );
  });
  test.each([
    ['"bias": "none"', '"bias": "all"', "bias"],
    ['"peft_type": "LORA"', '"peft_type": "IA3"', "peft_type"],
    ['"modules_to_save": null', '"modules_to_save": ["wte"]', "modules_to_save"],
    ['"init_lora_weights": true', '"init_lora_weights": "pissa"', "init_lora_weights"],
    ['"lora_bias": false', '"lora_bias": true', "lora_bias"],
    ['"alpha_pattern": {}', '"alpha_pattern": {"c_attn": 3}', "alpha_pattern"],
  ])("with %s changed to %s", (from, to, key) => {
    using temporary = temporaryFolder();
    cpSync(folder("lora"), temporary.path, { recursive: true });
    const path = join(temporary.path, "adapter_config.json");
    const text = readFileSync(path, "utf8");
    expect(text).toContain(from);
    writeFileSync(path, text.replace(from, to));
    expect(() => openAdapter(temporary.path, modelOf(config))).toThrow(`adapter_config.json: ${key}`);
  });
});
