/**
 * GGUF files of architecture gpt2, as llama.cpp's own converter writes them (github.com/ggml-org/llama.cpp: convert_hf_to_gguf.py,
 * GPT2Model; gguf-py; docs in ggml-org/ggml, docs/gguf.md).
 */
import { closeSync, fsyncSync, openSync, writeSync } from "node:fs";
import { UserError } from "../errors";
import type { Model } from "../model/model";
import type { Parameter } from "../model/parameters";
import { transposed } from "../model/transpose";
import type { TokenizerFiles } from "../text/files";
import { type Pieces, wholly } from "../tick";
import { ALIGNMENT, headerOf, type Metadata, type Value } from "./gguf-header";
import { vocabularyOf } from "./gguf-vocabulary";

export const ggufTypes = ["f32", "f16", "q8_0"] as const;
export type GgufType = (typeof ggufTypes)[number];

/** ggml's numbers of the types, and llama.cpp's of the kind of file. */
const typeIds: Readonly<Record<GgufType, number>> = { f32: 0, f16: 1, q8_0: 8 };
const fileTypes: Readonly<Record<GgufType, number>> = { f32: 0, f16: 1, q8_0: 7 };
/** Values of a Q8_0 block, which share one scale. */
const BLOCK = 32;

interface Placed {
  readonly parameter: Parameter;
  readonly name: string;
  readonly type: GgufType;
  /** Stored [in, out] by GPT-2, [out, in] by ggml. */
  readonly turned: boolean;
  readonly offset: number;
  readonly size: number;
}

export interface GgufSource {
  readonly name: string;
  readonly model: Model;
  readonly tokenizer: TokenizerFiles;
  /** A parameter's values, asked for when their turn comes. */
  values(parameter: Parameter): Float32Array;
}

/** Writes the file and syncs it. Written in place: give it a temporary name and rename. Throws a UserError on another tokenizer. */
export function writeGguf(path: string, source: GgufSource, type: GgufType): void {
  wholly(ggufWriting(path, source, type));
}

/** The same tensor by tensor. */
export function* ggufWriting(path: string, source: GgufSource, type: GgufType): Pieces<void> {
  const { model } = source;
  if (model.config.type !== "gpt2" || model.config.scalar)
    throw new UserError(
      `GGUF has no place for this model: ${model.config.scalar ? "it has a scalar head" : model.config.type}`,
      {
        hint: "export as safetensors",
      },
    );
  const metadata = metadataOf(source, type);
  let offset = 0;
  const tensors = model.parameters.list.map((parameter): Placed => {
    const placed = { parameter, name: ggmlName(parameter.name), turned: parameter.role === "linear", offset };
    const kind = typeOf(parameter, placed.turned, type);
    const size = bytesOf(kind, parameter.size);
    offset += Math.ceil(size / ALIGNMENT) * ALIGNMENT;
    return { ...placed, type: kind, size };
  });
  const fd = openSync(path, "w");
  const write = (bytes: Uint8Array) => {
    for (let at = 0; at < bytes.length; ) at += writeSync(fd, bytes, at, Math.min(bytes.length - at, 1 << 28));
  };
  try {
    // ggml counts dimensions from the one that lies straight in memory.
    const entry = ({ parameter: { shape }, turned, type, ...placed }: Placed) => ({
      ...placed,
      shape: turned ? shape : shape.toReversed(),
      type: typeIds[type],
    });
    write(headerOf(metadata, tensors.map(entry)));
    for (const { parameter, type, turned, size } of tensors) {
      const values = source.values(parameter);
      expectRange(values, parameter.name, type);
      const padded = new Uint8Array(Math.ceil(size / ALIGNMENT) * ALIGNMENT);
      padded.set(encoded(turned ? transposed(values, parameter.shape) : values, type));
      write(padded);
      yield;
    }
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

function ggmlName(name: string): string {
  const whole: Readonly<Record<string, string>> = {
    "wte.weight": "token_embd.weight",
    "wpe.weight": "position_embd.weight",
    "ln_f.weight": "output_norm.weight",
    "ln_f.bias": "output_norm.bias",
    "lm_head.weight": "output.weight",
  };
  const parts: Readonly<Record<string, string>> = {
    ln_1: "attn_norm",
    "attn.c_attn": "attn_qkv",
    "attn.c_proj": "attn_output",
    ln_2: "ffn_norm",
    "mlp.c_fc": "ffn_up",
    "mlp.c_proj": "ffn_down",
  };
  const [, layer, part, kind] = name.match(/^h\.(\d+)\.(.*)\.(weight|bias)$/) ?? [];
  const found = whole[name] ?? (part && parts[part] && `blk.${layer}.${parts[part]}.${kind}`);
  if (!found) throw new Error(`${name} has no name in GGUF`);
  return found;
}

/** Vectors and positions stay float32; a row that is no multiple of a block cannot be quantized. */
function typeOf({ name, shape }: Parameter, turned: boolean, wanted: GgufType): GgufType {
  if (shape.length < 2 || name === "wpe.weight") return "f32";
  const row = turned ? shape[0]! : shape[1]!;
  return wanted === "q8_0" && row % BLOCK !== 0 ? "f16" : wanted;
}

function bytesOf(type: GgufType, count: number): number {
  switch (type) {
    case "f32":
      return 4 * count;
    case "f16":
      return 2 * count;
    case "q8_0":
      return (count / BLOCK) * (2 + BLOCK);
    default:
      throw new Error(`type ${type satisfies never}`);
  }
}

/** The largest that half precision holds. A Q8_0 block's scale is a half too, and a 127th of its largest value. */
const MOST_HALF = 65504;
const most: Readonly<Record<GgufType, number>> = {
  f32: Number.POSITIVE_INFINITY,
  f16: MOST_HALF,
  q8_0: 127 * MOST_HALF,
};

function expectRange(values: Float32Array, name: string, type: GgufType): void {
  const past = values.find((v) => Math.abs(v) > most[type]);
  if (past === undefined) return;
  throw new UserError(`${name} has ${past}, which is past what ${type} holds`, { hint: "use --type f32" });
}

function encoded(values: Float32Array, type: GgufType): Uint8Array {
  if (type === "f32") return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  if (type === "f16") return new Uint8Array(new Float16Array(values).buffer);
  return quantized(values);
}

/** Q8_0: a float16 scale, then 32 signed bytes (ggml-quants.c, quantize_row_q8_0_ref). */
export function quantized(values: Float32Array): Uint8Array {
  const bytes = new Uint8Array(bytesOf("q8_0", values.length));
  const view = new DataView(bytes.buffer);
  for (let block = 0; block < values.length / BLOCK; block++) {
    const part = values.subarray(block * BLOCK, (block + 1) * BLOCK);
    const scale = Math.fround(part.reduce((most, v) => Math.max(most, Math.abs(v)), 0) / 127);
    const inverse = scale ? Math.fround(1 / scale) : 0;
    view.setFloat16(block * (2 + BLOCK), scale, true);
    part.forEach((v, i) => {
      const scaled = Math.fround(v * inverse);
      view.setInt8(block * (2 + BLOCK) + 2 + i, Math.sign(scaled) * Math.floor(Math.abs(scaled) + 0.5));
    });
  }
  return bytes;
}

function metadataOf({ name, model, tokenizer }: GgufSource, type: GgufType): Metadata {
  const { config } = model;
  const u32 = (value: number): Value => ({ kind: "u32", value });
  const string = (value: string): Value => ({ kind: "string", value });
  return [
    ["general.architecture", string("gpt2")],
    ["general.name", string(name)],
    ["general.file_type", u32(fileTypes[type])],
    ...(type === "q8_0" ? ([["general.quantization_version", u32(2)]] as const) : []),
    ["gpt2.context_length", u32(config.context)],
    ["gpt2.embedding_length", u32(config.width)],
    ["gpt2.feed_forward_length", u32(4 * config.width)],
    ["gpt2.block_count", u32(config.layers)],
    ["gpt2.attention.head_count", u32(config.heads)],
    ["gpt2.attention.layer_norm_epsilon", { kind: "f32", value: config.epsilon }],
    ...vocabularyOf(tokenizer, config.vocabulary),
  ];
}
