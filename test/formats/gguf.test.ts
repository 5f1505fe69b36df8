/** GGUF files, read by Hugging Face's own reader: metadata, tensor list, and values at the places that it gives. */

import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { GGMLQuantizationType, gguf } from "@huggingface/gguf";
import { Template } from "@huggingface/jinja";
import { exportGguf, exportSafetensors } from "../../src/app/export";
import { loadModel, openModelFiles, writeModel } from "../../src/formats/checkpoint";
import { type GgufType, quantized } from "../../src/formats/gguf";
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
async function made(folder: string, tokenizer = files): Promise<string> {
  const model = modelOf({
    type: "gpt2",
    vocabulary: vocabulary + 2,
    context: 16,
    layers: 2,
    heads: 2,
    width: 32,
    epsilon: 1e-5,
  });
  using weights = new Slab(device("cpu"), model.parameters, { values: initialise(model.parameters, 9) });
  await writeModel(folder, model, weights, vocabulary - 1);
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
