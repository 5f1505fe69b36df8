/** GGUF files, read by Hugging Face's own reader: metadata, tensor list, and values at the places that it gives. */

import { describe, expect, test } from "bun:test";
import { mkdirSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { GGMLQuantizationType, gguf } from "@huggingface/gguf";
import { Template } from "@huggingface/jinja";
import { exportGguf, exportSafetensors } from "../../src/app/export";
import { UserError } from "../../src/errors";
import { loadModel, openModelFiles, writeModel } from "../../src/formats/checkpoint";
import { type GgufType, quantized, writeGguf } from "../../src/formats/gguf";
import { vocabularyOf } from "../../src/formats/gguf-vocabulary";
import { modelOf } from "../../src/model/model";

import { initialise, parameter } from "../../src/model/parameters";
import { Slab } from "../../src/model/slab";
import { trainBpe } from "../../src/text/bpe";
import { trainCharacters } from "../../src/text/characters";
import type { TokenizerFiles } from "../../src/text/files";
import { tokenizerFrom, writeTokenizer } from "../../src/text/tokenizer";
import { device } from "../support/device";
import { temporaryFolder } from "../support/folder";

const template = "{%- for m in messages -%}{%- generation %}{{ m.content }}{%- endgeneration -%}{%- endfor %}";
const trained = trainBpe(["the cat sat on the mat, the cat sat. ".repeat(20)], { size: 270 });
const files: TokenizerFiles = { ...trained, config: { ...trained.config, chat_template: template } };
const { size: vocabulary } = tokenizerFrom(files);

/** A model directory with the tokenizer, its vocabulary padded by two. */
async function made(folder: string, tokenizer = files, rows = vocabulary + 2): Promise<string> {
  const model = modelOf({
    type: "gpt2",
    vocabulary: rows,
    context: 16,
    layers: 2,
    heads: 2,
    width: 32,
    epsilon: 1e-5,
  });
  using weights = new Slab(device("cpu"), model.parameters, { values: initialise(model.parameters, 9) });
  await writeModel(folder, model, weights, { endOfText: vocabulary - 1, padding: 0 });
  await writeTokenizer(folder, tokenizer);
  return folder;
}

async function exported(type: GgufType, folder: string) {
  const out = join(folder, "out", "small.gguf");
  await exportGguf(await made(folder), out, type);
  const read = await gguf(out, { allowLocalFile: true });
  return { ...read, metadata: read.metadata as unknown as Record<string, unknown>, bytes: readFileSync(out) };
}

describe.each(["f32", "f16", "q8_0"] as const)("%s", (type) => {
  test("has the metadata that llama.cpp asks for", async () => {
    using folder = temporaryFolder();
    const { metadata } = await exported(type, folder.path);
    expect(metadata).toMatchObject({
      version: 3,
      "general.architecture": "gpt2",
      "general.name": "small",
      "general.file_type": { f32: 0, f16: 1, q8_0: 7 }[type],
      "gpt2.context_length": 16,
      "gpt2.embedding_length": 32,
      "gpt2.feed_forward_length": 128,
      "gpt2.block_count": 2,
      "gpt2.attention.head_count": 2,
      "gpt2.attention.layer_norm_epsilon": expect.closeTo(1e-5, 10),
      "tokenizer.ggml.model": "gpt2",
      "tokenizer.ggml.pre": "gpt-2",
      "tokenizer.ggml.eos_token_id": vocabulary - 1,
      "tokenizer.ggml.bos_token_id": vocabulary - 1,
      "tokenizer.ggml.add_bos_token": false,
      "tokenizer.ggml.add_eos_token": false,
    });
    const chat = metadata["tokenizer.chat_template"] as string;
    expect(chat).not.toContain("generation");
    expect(new Template(chat).render({ messages: [{ content: "a" }, { content: "b" }] })).toBe("ab");
    const tokens = metadata["tokenizer.ggml.tokens"] as string[];
    const types = metadata["tokenizer.ggml.token_type"] as number[];
    expect(tokens.length).toBe(vocabulary + 2);
    expect([tokens[vocabulary - 1], types[vocabulary - 1]]).toEqual(["<|endoftext|>", 3]);
    expect([tokens[vocabulary], types[vocabulary]]).toEqual([`[PAD${vocabulary}]`, 5]);
    const merges = metadata["tokenizer.ggml.merges"] as string[];
    expect(merges[0]!.split(" ").length).toBe(2);
  });

  test("has every tensor, turned as ggml wants it, with its values", async () => {
    using folder = temporaryFolder();
    const { tensorInfos, tensorDataOffset, bytes } = await exported(type, folder.path);
    const { model, weights } = await loadModel(device("cpu"), folder.path);
    using slab = weights;
    const values = slab.download();
    expect(tensorInfos.length).toBe(model.parameters.list.length);
    const named = new Map(tensorInfos.map((info) => [info.name, info]));
    const at = (name: string) => bytes.subarray(Number(tensorDataOffset + named.get(name)!.offset));

    const matrix = named.get("blk.1.attn_qkv.weight")!;
    expect(matrix.shape.map(Number)).toEqual([32, 96]);
    expect(matrix.dtype).toBe(
      { f32: GGMLQuantizationType.F32, f16: GGMLQuantizationType.F16, q8_0: GGMLQuantizationType.Q8_0 }[type],
    );
    const { offset } = parameter(model.parameters, "h.1.attn.c_attn.weight");
    const data = at("blk.1.attn_qkv.weight");
    const stored = (i: number) => {
      if (type === "f32") return data.readFloatLE(4 * i);
      if (type === "f16") return new DataView(data.buffer, data.byteOffset).getFloat16(2 * i, true);
      const block = new DataView(data.buffer, data.byteOffset + 34 * Math.floor(i / 32));
      return block.getFloat16(0, true) * block.getInt8(2 + (i % 32));
    };
    const tolerance = { f32: 0, f16: 5e-5, q8_0: 4e-4 }[type];
    for (let out = 0; out < 96; out++)
      for (let from = 0; from < 32; from++)
        expect(Math.abs(stored(out * 32 + from) - values[offset + from * 96 + out]!)).toBeLessThanOrEqual(tolerance);

    for (const [ggml, ours] of [
      ["output_norm.weight", "ln_f.weight"],
      ["position_embd.weight", "wpe.weight"],
    ] as const) {
      expect(named.get(ggml)!.dtype).toBe(GGMLQuantizationType.F32);
      const { offset, size } = parameter(model.parameters, ours);
      const copy = new Float32Array(new Uint8Array(at(ggml).subarray(0, 4 * size)).buffer);
      expect(copy).toEqual(values.slice(offset, offset + size));
    }
  });
});

test("Q8_0 rounds as ggml does: half away from zero, by a scale of the largest over 127", () => {
  const values = new Float32Array(32);
  values.set([127, 1.5, -1.5, -127, 0.4]);
  const view = new DataView(quantized(values).buffer);
  expect(view.getFloat16(0, true)).toBe(1);
  expect([0, 1, 2, 3, 4].map((i) => view.getInt8(2 + i))).toEqual([127, 2, -2, -127, 0]);
  expect(quantized(new Float32Array(32))).toEqual(new Uint8Array(34));
});

test("a character-level tokenizer has no place in GGUF, and nothing is written", async () => {
  using folder = temporaryFolder();
  const directory = await made(folder.path, trainCharacters(["abc"]));
  const out = join(folder.path, "x.gguf");
  await expect(exportGguf(directory, out, "f32")).rejects.toThrow(/GGUF has no place for this tokenizer/);
  expect([...new Bun.Glob("*.gguf*").scanSync(folder.path)]).toEqual([]);
});

describe("what llama.cpp cannot be told is refused, and nothing is written", () => {
  const { model } = files.tokenizer as { model: { vocab: Record<string, number>; merges: string[] } };
  const byteLevel = files.tokenizer.pre_tokenizer as object;
  const [added] = files.tokenizer.added_tokens as object[];
  const more = (content: string, over: object) => [added, { ...added, id: vocabulary, content, ...over }];
  const digits = { type: "Sequence", pretokenizers: [{ type: "Digits", individual_digits: true }, byteLevel] };
  const split = { type: "Split", pattern: { Regex: "\\p{N}{1,3}" }, behavior: "Isolated", invert: false };

  const refusal = (tokenizer: object, config: object = {}, size = vocabulary + 2) => {
    const given = { tokenizer: { ...files.tokenizer, ...tokenizer }, config: { ...files.config, ...config } };
    try {
      vocabularyOf(given, size);
      return "it was written";
    } catch (error) {
      expect(error).toBeInstanceOf(UserError);
      return (error as Error).message;
    }
  };
  const place = "GGUF has no place for this tokenizer: ";

  test.each<[string, object, string]>([
    ["NFC", { normalizer: { type: "NFC" } }, 'its normalizer is "NFC"'],
    ["lower case", { normalizer: { type: "Lowercase" } }, 'its normalizer is "Lowercase"'],
    [
      "one normalizer in a sequence",
      { normalizer: { type: "Sequence", normalizers: [{ type: "NFC" }] } },
      'its normalizer is "NFC"',
    ],
    [
      "normalizers in a sequence",
      { normalizer: { type: "Sequence", normalizers: [{ type: "NFD" }, { type: "StripAccents" }] } },
      'its normalizer is "Sequence"',
    ],
    [
      "a prefix",
      { pre_tokenizer: { ...byteLevel, add_prefix_space: true } },
      "its pre_tokenizer.add_prefix_space is true",
    ],
    ["no split", { pre_tokenizer: { ...byteLevel, use_regex: false } }, "its pre_tokenizer.use_regex is false"],
    ["digits", { pre_tokenizer: digits }, 'its pre_tokenizer.type is "Sequence"'],
    ["another split", { pre_tokenizer: { type: "Sequence", pretokenizers: [split, byteLevel] } }, 'is "Sequence"'],
    ["white space", { pre_tokenizer: { type: "Whitespace" } }, 'its pre_tokenizer.type is "Whitespace"'],
    ["another decoder", { decoder: { type: "BPEDecoder", suffix: "</w>" } }, 'its decoder.type is "BPEDecoder"'],
    ["nothing before", { pre_tokenizer: null }, "its pre_tokenizer is null"],
    ["another model", { model: { ...model, type: "Unigram" } }, 'its model.type is "Unigram"'],
    ["merges left out", { model: { ...model, ignore_merges: true } }, "its model.ignore_merges is true"],
    ["bytes for the unknown", { model: { ...model, byte_fallback: true } }, "its model.byte_fallback is true"],
    ["an end of words", { model: { ...model, end_of_word_suffix: "</w>" } }, 'its model.end_of_word_suffix is "</w>"'],
    ["dropout", { model: { ...model, dropout: 0.1 } }, "its model.dropout is 0.1"],
    ["merges of three", { model: { ...model, merges: [["a", "b", "c"]] } }, 'its merge ["a","b","c"] is no pair'],
    ["merges with spaces", { model: { ...model, merges: [["a b", "c"]] } }, 'its merge ["a b","c"] is no pair'],
    ["merges that are numbers", { model: { ...model, merges: [5] } }, "its model.merges.0 is 5"],
    [
      "white space that is eaten",
      { added_tokens: more("<mask>", { lstrip: true }) },
      "its added_tokens.1.lstrip is true",
    ],
    [
      "whole words only",
      { added_tokens: more("<w>", { single_word: true }) },
      "its added_tokens.1.single_word is true",
    ],
    ["a token twice", { added_tokens: more("a", {}) }, 'it has the token "a" twice'],
    ["a negative id", { added_tokens: more("<x>", { id: -1 }) }, "its added_tokens.1.id is -1"],
    ["half an id", { model: { ...model, vocab: { ...model.vocab, x: 0.5 } } }, 'its token "x" has the id 0.5'],
    ["a byte missing", { model: { ...model, vocab: without("A") } }, "it has no token for the byte 65"],
  ])("%s", (_what, tokenizer, why) => {
    expect(refusal(tokenizer)).toContain(place);
    expect(refusal(tokenizer)).toContain(why);
  });

  function without(token: string): Record<string, number> {
    const { [token]: _, ...rest } = model.vocab;
    return rest;
  }

  test("a prefix that only the config asks for, no end, and more tokens than rows", () => {
    expect(refusal({}, { add_prefix_space: true })).toBe(`${place}its add_prefix_space is true`);
    expect(refusal({ added_tokens: [] }, { eos_token: "<none>" })).toBe(`${place}it has no token that ends a text`);
    expect(refusal({}, {}, vocabulary - 1)).toBe(
      `${place}its token "<|endoftext|>" has the id ${vocabulary - 1}, and the model has ${vocabulary - 1} rows`,
    );
  });
  test("what means the same is taken", () => {
    expect(refusal({ pre_tokenizer: { type: "Sequence", pretokenizers: [byteLevel] } })).toBe("it was written");
    expect(refusal({ normalizer: { type: "Sequence", normalizers: [] } })).toBe("it was written");
    expect(refusal({ added_tokens: more("<tool>", { special: false }) })).toBe("it was written");
    const types = new Map(
      vocabularyOf(
        { ...files, tokenizer: { ...files.tokenizer, added_tokens: more("<tool>", { special: false }) } },
        vocabulary + 2,
      ),
    );
    expect((types.get("tokenizer.ggml.token_type")!.value as number[]).slice(-3)).toEqual([3, 4, 5]);
  });
  test("of several chat templates the default one is written", () => {
    const chat_template = [
      { name: "tool_use", template: "no" },
      { name: "default", template: "yes" },
    ];
    const written = new Map(vocabularyOf({ ...files, config: { ...files.config, chat_template } }, vocabulary));
    expect(written.get("tokenizer.chat_template")).toEqual({ kind: "string", value: "yes" });
    for (const chat_template of [[null], [], 5, null])
      expect(
        new Map(vocabularyOf({ ...files, config: { ...files.config, chat_template } }, vocabulary)).has(
          "tokenizer.chat_template",
        ),
      ).toBe(false);
  });

  test.each<[GgufType, number, RegExp | null]>([
    ["f32", 1e6, null],
    ["f16", 65504, null],
    ["f16", 65536, /^h\.1\.mlp\.c_fc\.weight has 65536, which is past what f16 holds$/],
    ["f16", -1e6, /has -1000000, which is past/],
    ["q8_0", 1e6, null],
    ["q8_0", 1e7, /has 10000000, which is past what q8_0 holds/],
  ])("%s of a weight of %d", async (type, value, message) => {
    using folder = temporaryFolder();
    const out = join(folder.path, "out", "x.gguf");
    await made(folder.path);
    using stored = await openModelFiles(folder.path);
    const values: typeof stored.values = (parameter) => {
      const found = stored.values(parameter);
      if (parameter.name === "h.1.mlp.c_fc.weight") found[40] = value;
      return found;
    };
    const write = () => {
      mkdirSync(join(folder.path, "out"));
      writeGguf(out, { name: "x", model: stored.model, tokenizer: files, values }, type);
    };
    if (message) expect(write).toThrow(message);
    else expect(write).not.toThrow();
  });

  test("a model whose tokenizer has more tokens than it has rows is exported in no form", async () => {
    using folder = temporaryFolder();
    await made(folder.path, trainBpe(["the cat sat on the mat. ".repeat(20)], { size: 257 }), 256);
    for (const write of [
      () => exportGguf(folder.path, join(folder.path, "x.gguf"), "f32"),
      () => exportSafetensors(folder.path, join(folder.path, "x")),
    ])
      await expect(write()).rejects.toThrow("the tokenizer has 257 tokens, and the model 256");
    expect(readdirSync(folder.path).filter((name) => /x|tmp/.test(name))).toEqual([]);
  });
});

test("an export as safetensors is the same model, bit for bit, and is not written over", async () => {
  using folder = temporaryFolder();
  const out = join(folder.path, "exported");
  await exportSafetensors(await made(folder.path), out);
  using before = await openModelFiles(folder.path);
  using after = await openModelFiles(out);
  expect(after.model.config).toEqual(before.model.config);
  before.model.parameters.list.forEach((p, i) => {
    expect(after.values(after.model.parameters.list[i]!)).toEqual(before.values(p));
  });
  await expect(exportSafetensors(folder.path, out)).rejects.toThrow(/is there already/);
});
