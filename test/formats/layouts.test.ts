/** Checkpoints as others write them: test/golden/layouts.py made one small GPT-2 in every layout, and its logits by PyTorch. */

import { describe, expect, test } from "bun:test";
import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Program } from "../../src/autograd/program";
import { checkModel, loadModel, writeModel } from "../../src/formats/checkpoint";
import { narrowed, narrowedToF16, widened, widenedFromF16 } from "../../src/model/half";
import type { Model } from "../../src/model/model";
import type { Slab } from "../../src/model/slab";
import { input } from "../../src/tensor/tensor";
import golden from "../golden/layouts/logits.json";
import { device, onEachDevice } from "../support/device";
import { temporaryFolder } from "../support/folder";
import { largestError } from "../support/oracle";

const layouts = "test/golden/layouts";

function logitsOf(model: Model, weights: Slab): Float32Array {
  const length = golden.tokens.length;
  const [tokens, positions] = [input("tokens", [length], "u32"), input("positions", [length], "u32")];
  const logits = model.logits(model.hidden(tokens, positions, { length }));
  using program = new Program(device(), [logits], { bind: weights.bind() });
  program.feed(tokens, Uint32Array.from(golden.tokens));
  program.feed(
    positions,
    Uint32Array.from(golden.tokens, (_, i) => i),
  );
  program.run();
  return program.read(logits);
}

onEachDevice(() => {
  describe.each(Object.entries(golden.logits))("%s", (name, wanted) => {
    test("is loaded, and gives PyTorch's logits", async () => {
      const { model, weights } = await loadModel(device(), join(layouts, name));
      using _weights = weights;
      expect(largestError(logitsOf(model, weights), wanted.flat())).toBeLessThan(1e-5);
    });
    test.each(["bf16", "f16"] as const)(
      "held in %s it gives the logits of its rounded weights, in less memory",
      async (storage) => {
        const { model, weights } = await loadModel(device(), join(layouts, name), storage);
        const round = (v: Float32Array) =>
          storage === "bf16" ? widened(narrowed(v)) : widenedFromF16(narrowedToF16(v));
        using small = weights;
        const plain = await loadModel(device(), join(layouts, name));
        using full = plain.weights;
        const rounded = full.download();
        for (const { offset, size, decay } of plain.model.parameters.list)
          if (decay) rounded.set(round(rounded.slice(offset, offset + size)), offset);
        for (const parameter of plain.model.parameters.list)
          full.write(parameter, rounded.slice(parameter.offset, parameter.offset + parameter.size));
        expect(largestError(logitsOf(model, small), logitsOf(plain.model, full))).toBeLessThan(1e-5);
        expect(small.buffer.sizeBytes).toBeLessThan(0.75 * full.buffer.sizeBytes);
        for (const parameter of model.parameters.list)
          expect(small.read(parameter)).toEqual(rounded.slice(parameter.offset, parameter.offset + parameter.size));
      },
    );
    test("written again and loaded again, it is the same bit for bit", async () => {
      using folder = temporaryFolder();
      const { model, weights } = await loadModel(device(), join(layouts, name));
      using first = weights;
      await writeModel(folder.path, model, first, { endOfText: 36, padding: 0 });
      const again = await loadModel(device(), folder.path);
      using second = again.weights;
      expect(again.model.config).toEqual(model.config);
      expect(second.download()).toEqual(first.download());
    });
  });
});

describe("what does not fit is refused with its name and shapes", () => {
  /** A copy of a layout, changed. */
  async function refusal(layout: string, change: (folder: string) => void): Promise<string> {
    using folder = temporaryFolder();
    const copy = join(folder.path, "model");
    mkdirSync(copy);
    cpSync(join(layouts, layout), copy, { recursive: true });
    change(copy);
    try {
      const { weights } = await loadModel(device("cpu"), copy);
      weights[Symbol.dispose]();
      return "it was loaded";
    } catch (error) {
      return (error as Error).message;
    }
  }
  const config = (values: object) => (folder: string) => {
    const path = join(folder, "config.json");
    writeFileSync(path, JSON.stringify({ ...JSON.parse(readFileSync(path, "utf8")), ...values }));
  };
  const bytes = (from: string, to: string) => (folder: string) => {
    const path = join(folder, "model.safetensors");
    writeFileSync(path, Buffer.from(readFileSync(path, "latin1").replace(from, to), "latin1"));
  };
  const values = (value: number) => (folder: string) => {
    const path = join(folder, "model.safetensors");
    const file = readFileSync(path);
    file.writeFloatLE(value, file.length - 4);
    writeFileSync(path, file);
  };

  const folderAt = (name: string) => (folder: string) => {
    rmSync(join(folder, name));
    mkdirSync(join(folder, name));
  };
  const deepType = (folder: string) =>
    writeFileSync(join(folder, "config.json"), `{"model_type": ${"[".repeat(3e5)}${"]".repeat(3e5)}}`);

  const cases: [string, string, (folder: string) => void, RegExp][] = [
    [
      "another type of model",
      "openai",
      config({ model_type: "llama" }),
      /model_type is "llama", only "gpt2" is supported/,
    ],
    ["more layers than tensors", "openai", config({ n_layer: 3 }), /has no tensor h\.2\.\S+ \[16/],
    [
      "fewer layers than tensors",
      "transformers",
      config({ n_layer: 1 }),
      /a tensor transformer\.h\.1\.\S+ \[16\S* that a model of type gpt2 does not have/,
    ],
    ["another vocabulary", "openai", config({ vocab_size: 40 }), /wte\.weight has shape \[37,16\], expected \[40,16\]/],
    ["another inner width", "openai", config({ n_inner: 60 }), /n_inner is 60/],
    ["another activation", "openai", config({ activation_function: "relu" }), /activation_function is "relu"/],
    [
      "a head that is not the embedding",
      "own-head",
      config({ tie_word_embeddings: true }),
      /lm_head\.weight differs from wte\.weight/,
    ],
    [
      "a missing head",
      "transformers",
      config({ tie_word_embeddings: false }),
      /has no tensor lm_head\.weight \[37,16\]/,
    ],
    ["a tensor of another name", "openai", bytes('"ln_f.bias"', '"ln_f.bics"'), /has no tensor ln_f\.bias \[16\]/],
    ["NaN", "transformers", values(Number.NaN), /transformer\.ln_f\.bias has NaN at element 15/],
    [
      "infinity",
      "transformers",
      values(Number.NEGATIVE_INFINITY),
      /transformer\.ln_f\.bias has -Infinity at element 15/,
    ],
    [
      "a weight whose square no float32 holds",
      "transformers",
      values(3e38),
      /ln_f\.bias has 3\.0\d*e\+38 at element 15/,
    ],
    ["a negative epsilon", "openai", config({ layer_norm_epsilon: -1e-5 }), /layer_norm_epsilon is -0\.00001: /],
    ["an epsilon of zero", "openai", config({ layer_norm_epsilon: 0 }), /layer_norm_epsilon is 0: /],
    [
      "an epsilon that float32 has not",
      "openai",
      config({ layer_norm_epsilon: 1e-60 }),
      /layer_norm_epsilon is 1e-60: /,
    ],
    ["an epsilon in words", "openai", config({ layer_norm_epsilon: "1e-5" }), /layer_norm_epsilon is "1e-5": /],
    ["a negative number of heads", "openai", config({ n_head: -2 }), /n_head is -2: Too small/],
    ["a part of a layer", "openai", config({ n_layer: 1.5 }), /n_layer is 1\.5: /],
    ["a negative share of dropout", "openai", config({ resid_pdrop: -0.1 }), /resid_pdrop is -0\.1: /],
    ["a negative token", "openai", config({ eos_token_id: -1 }), /eos_token_id is -1: /],
    ["a size that is missing", "openai", config({ n_embd: undefined }), /n_embd is missing: /],
    ["no context", "openai", config({ n_positions: undefined, n_ctx: undefined }), /n_positions is missing/],
    ["sizes in a list", "openai", config({ n_embd: [[16]] }), /n_embd is a list: /],
    ["labels that are no object", "openai", config({ id2label: 3 }), /id2label is 3: /],
    [
      "architectures that are no list",
      "openai",
      config({ architectures: "GPT2LMHeadModel" }),
      /architectures is "GPT2/,
    ],
    ["a type of 300,000 brackets", "openai", deepType, /model_type is a list, only "gpt2" is supported/],
    ["a config that is a folder", "openai", folderAt("config.json"), /config\.json cannot be read: it is a folder/],
    [
      "weights that are a folder",
      "openai",
      folderAt("model.safetensors"),
      /safetensors cannot be read: it is a folder/,
    ],
    ["a tensor of rank 0", "openai", bytes('"shape": [16]', '"shape": [  ]'), /needs 4 bytes and has 64/],
    ["one tensor twice", "openai", bytes('"ln_f.weight"', '"ln_f.bias"  '), /names a tensor twice/],
  ];
  test.each(cases)("%s", async (_name, layout, change, message) => {
    expect(await refusal(layout, change)).toMatch(message);
  });

  test.each([
    ["a shard that is missing", "nowhere.safetensors", /cannot be read: there is no such file/],
    ["a path out of the folder", "../openai/model.safetensors", /which is no file beside it/],
    ["a shard without the tensor", "model-00002-of-00003.safetensors", /has no such tensor/],
    ["a number for a file", 5, /into 5, which is no file beside it/],
    ["a list for a file", [["a"]], /into a list, which is no file beside it/],
    ["nothing for a file", null, /into null, which is no file beside it/],
  ])("an index with %s", async (_name, file, message) => {
    const change = (folder: string) => {
      const path = join(folder, "model.safetensors.index.json");
      const index = JSON.parse(readFileSync(path, "utf8"));
      index.weight_map["transformer.wte.weight"] = file;
      writeFileSync(path, JSON.stringify(index));
    };
    expect(await refusal("sharded", change)).toMatch(message);
  });

  test.each([
    ["null", /index\.json: expected object, received null/],
    ["{}", /index\.json: weight_map: expected object, received undefined/],
    ['{"weight_map": []}', /weight_map: expected object, received array/],
    ['{"weight_map": "x"}', /weight_map: expected object, received string/],
    ['{"weight_map": {}}', /names no tensors/],
    ['{"weight_map":', /index\.json is not valid JSON/],
    ["[".repeat(3e5), /index\.json is not valid JSON/],
    [`{"weight_map": {"a": ${"[".repeat(3e5)}${"]".repeat(3e5)}}}`, /into a list, which is no file beside it/],
  ])("an index that is %.30s", async (text, message) => {
    const change = (folder: string) => writeFileSync(join(folder, "model.safetensors.index.json"), text);
    expect(await refusal("sharded", change)).toMatch(message);
  });

  test("16 million layers, at once and for next to nothing", async () => {
    const before = process.memoryUsage().rss;
    const start = performance.now();
    expect(await refusal("openai", config({ n_layer: 16_000_000 }))).toMatch(/n_layer is 16000000: Too big.*1024/);
    expect(await refusal("openai", config({ n_embd: 1 << 24 }))).toMatch(/n_embd is 16777216: Too big.*65536/);
    expect(performance.now() - start).toBeLessThan(1000);
    expect(process.memoryUsage().rss - before).toBeLessThan(100e6);
  });

  test("linear layers that are stored the other way round", async () => {
    const turn = (folder: string) =>
      bytes(
        '"transformer.h.0.attn.c_attn.weight": {"dtype": "F32", "shape": [16, 48]',
        '"transformer.h.0.attn.c_attn.weight": {"dtype": "F32", "shape": [48, 16]',
      )(folder);
    expect(await refusal("transformers", turn)).toMatch(/c_attn\.weight has shape \[48,16\], expected \[16,48\]/);
  });
});

test("a header is checked without its values", async () => {
  expect((await checkModel(join(layouts, "sharded"))).config.layers).toBe(2);
});

test("bf16 rounds to the nearest, and halves to even", () => {
  const bits = (...words: number[]) => new Float32Array(Uint32Array.from(words).buffer);
  const given = bits(0x3f800000, 0x3f808000, 0x3f818000, 0x3f808001, 0xbf80ffff, 0x00000000);
  expect([...narrowed(given)]).toEqual([0x3f80, 0x3f80, 0x3f82, 0x3f81, 0xbf81, 0]);
  expect([...widened(Uint16Array.of(0x3f80, 0xbf81))]).toEqual([1, -1.0078125]);
});

test("NaN stays NaN in 16 bits, whatever its payload and sign", () => {
  const words = [0x7fc00000, 0x7fffffff, 0xffffffff, 0x7f800001, 0xff808000, 0xffff8000, 0x7f807fff];
  const given = new Float32Array(Uint32Array.from(words).buffer);
  expect([...widened(narrowed(given))].every(Number.isNaN)).toBe(true);
  // The upper half, made quiet.
  expect([...narrowed(given)]).toEqual([0x7fc0, 0x7fff, 0xffff, 0x7fc0, 0xffc0, 0xffff, 0x7fc0]);
  for (const word of words) {
    const one = new Float32Array(Uint32Array.of(word).buffer);
    expect(() => narrowedToF16(one)).toThrow("a weight of NaN is past what float16 holds");
  }
  expect([...narrowed(Float32Array.of(Infinity, -Infinity))]).toEqual([0x7f80, 0xff80]);
});

test("float16 refuses what it cannot hold", () => {
  expect([...narrowedToF16(Float32Array.of(1, -2, 65504))]).toEqual([0x3c00, 0xc000, 0x7bff]);
  expect(() => narrowedToF16(Float32Array.of(1, 70000))).toThrow("a weight of 70000 is past what float16 holds");
});
