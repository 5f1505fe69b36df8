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

export const ggufTypes = ["f32", "f16", "q8_0"] as const;
export type GgufType = (typeof ggufTypes)[number];

/** ggml's numbers of the types, and llama.cpp's of the kind of file. */
const typeIds: Readonly<Record<GgufType, number>> = { f32: 0, f16: 1, q8_0: 8 };
const fileTypes: Readonly<Record<GgufType, number>> = { f32: 0, f16: 1, q8_0: 7 };
const ALIGNMENT = 32;
/** Values of a Q8_0 block, which share one scale. */
const BLOCK = 32;

type Value =
  | { readonly kind: "u32" | "f32"; readonly value: number }
  | { readonly kind: "string"; readonly value: string }
  | { readonly kind: "strings"; readonly value: readonly string[] }
  | { readonly kind: "i32s"; readonly value: readonly number[] };

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
    const placed = { parameter, name: ggmlName(parameter.name), turned: parameter.linear === true, offset };
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
    write(headerOf(metadata, tensors));
    for (const { parameter, type, turned, size } of tensors) {
      const values = source.values(parameter);
      const padded = new Uint8Array(Math.ceil(size / ALIGNMENT) * ALIGNMENT);
      padded.set(encoded(turned ? transposed(values, parameter.shape) : values, type));
      write(padded);
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

function metadataOf({ name, model, tokenizer }: GgufSource, type: GgufType): [string, Value][] {
  const { config } = model;
  const u32 = (value: number): Value => ({ kind: "u32", value });
  const string = (value: string): Value => ({ kind: "string", value });
  return [
    ["general.architecture", string("gpt2")],
    ["general.name", string(name)],
    ["general.file_type", u32(fileTypes[type])],
    ...(type === "q8_0" ? ([["general.quantization_version", u32(2)]] as [string, Value][]) : []),
    ["gpt2.context_length", u32(config.context)],
    ["gpt2.embedding_length", u32(config.width)],
    ["gpt2.feed_forward_length", u32(4 * config.width)],
    ["gpt2.block_count", u32(config.layers)],
    ["gpt2.attention.head_count", u32(config.heads)],
    ["gpt2.attention.layer_norm_epsilon", { kind: "f32", value: config.epsilon }],
    ...vocabularyOf(tokenizer, config.vocabulary),
  ];
}

interface BpeFile {
  readonly model?: {
    readonly type?: string;
    readonly vocab?: Readonly<Record<string, number>>;
    readonly merges?: readonly (string | readonly [string, string])[];
  };
  readonly pre_tokenizer?: { readonly type?: string } | null;
  readonly added_tokens?: readonly { readonly id: number; readonly content: string; readonly special?: boolean }[];
}

const NORMAL = 1;
const CONTROL = 3;
const USER_DEFINED = 4;
const UNUSED = 5;

function vocabularyOf({ tokenizer, config }: TokenizerFiles, size: number): [string, Value][] {
  const { model, pre_tokenizer: split, added_tokens: added = [] } = tokenizer as BpeFile;
  if (model?.type !== "BPE" || split?.type !== "ByteLevel") {
    throw new UserError("GGUF has no place for this tokenizer: llama.cpp reads GPT-2's byte-level BPE", {
      hint: "export as safetensors, or train with a bpe tokenizer",
    });
  }
  const tokens = Array.from({ length: size }, (_, i) => `[PAD${i}]`);
  const types = new Array<number>(size).fill(UNUSED);
  for (const [token, id] of Object.entries(model.vocab ?? {})) {
    tokens[id] = token;
    types[id] = NORMAL;
  }
  for (const { id, content, special } of added) {
    tokens[id] = content;
    types[id] = special ? CONTROL : USER_DEFINED;
  }
  const merges = (model.merges ?? []).map((merge) => (typeof merge === "string" ? merge : merge.join(" ")));
  // A special token is named by its text, or by an object that has it.
  const idOf = (token: unknown) => {
    const text = (token as { readonly content?: unknown } | null | undefined)?.content ?? token ?? "<|endoftext|>";
    return typeof text === "string" ? tokens.indexOf(text) : -1;
  };
  const special = (key: string, id: number): [string, Value][] => (id < 0 ? [] : [[key, { kind: "u32", value: id }]]);
  return [
    ["tokenizer.ggml.model", { kind: "string", value: "gpt2" }],
    ["tokenizer.ggml.pre", { kind: "string", value: "gpt-2" }],
    ["tokenizer.ggml.tokens", { kind: "strings", value: tokens }],
    ["tokenizer.ggml.token_type", { kind: "i32s", value: types }],
    ["tokenizer.ggml.merges", { kind: "strings", value: merges }],
    ...special("tokenizer.ggml.bos_token_id", idOf(config.bos_token)),
    ...special("tokenizer.ggml.eos_token_id", idOf(config.eos_token)),
    ...chatTemplate(config.chat_template),
  ];
}

/** Without the marks of what the assistant says, which only training reads; white space round them is trimmed as before. */
function chatTemplate(template: unknown): [string, Value][] {
  if (typeof template !== "string") return [];
  const value = template.replace(/{%(-?)\s*(?:end)?generation\s*(-?)%}/g, "{%$1 if true %}{% endif $2%}");
  return [["tokenizer.chat_template", { kind: "string", value }]];
}

/** Bytes that grow. Little-endian, as GGUF is. */
class Writer {
  private readonly parts: Uint8Array[] = [];
  length = 0;

  bytes(part: Uint8Array): this {
    this.parts.push(part);
    this.length += part.length;
    return this;
  }
  u32(value: number): this {
    return this.bytes(new Uint8Array(Uint32Array.of(value).buffer));
  }
  i32s(values: readonly number[]): this {
    return this.bytes(new Uint8Array(Int32Array.from(values).buffer));
  }
  f32(value: number): this {
    return this.bytes(new Uint8Array(Float32Array.of(value).buffer));
  }
  u64(value: number): this {
    return this.bytes(new Uint8Array(BigUint64Array.of(BigInt(value)).buffer));
  }
  string(text: string): this {
    const bytes = new TextEncoder().encode(text);
    return this.u64(bytes.length).bytes(bytes);
  }
  get whole(): Uint8Array {
    return Buffer.concat(this.parts);
  }
}

/** GGUF's numbers of the kinds of values. */
const kindIds = { u32: 4, i32: 5, f32: 6, string: 8, array: 9 } as const;

function headerOf(metadata: readonly [string, Value][], tensors: readonly Placed[]): Uint8Array {
  const out = new Writer();
  out.bytes(new TextEncoder().encode("GGUF")).u32(3).u64(tensors.length).u64(metadata.length);
  for (const [key, value] of metadata) writeValue(out.string(key), value);
  for (const { parameter, name, type, turned, offset } of tensors) {
    // ggml counts dimensions from the one that lies straight in memory.
    const shape = turned ? parameter.shape : parameter.shape.toReversed();
    out.string(name).u32(shape.length);
    for (const size of shape) out.u64(size);
    out.u32(typeIds[type]).u64(offset);
  }
  return out.bytes(new Uint8Array((ALIGNMENT - (out.length % ALIGNMENT)) % ALIGNMENT)).whole;
}

function writeValue(out: Writer, { kind, value }: Value): void {
  switch (kind) {
    case "u32":
      out.u32(kindIds.u32).u32(value);
      break;
    case "f32":
      out.u32(kindIds.f32).f32(value);
      break;
    case "string":
      out.u32(kindIds.string).string(value);
      break;
    case "strings":
      out.u32(kindIds.array).u32(kindIds.string).u64(value.length);
      for (const text of value) out.string(text);
      break;
    case "i32s":
      out.u32(kindIds.array).u32(kindIds.i32).u64(value.length).i32s(value);
      break;
    default:
      throw new Error(`kind ${kind satisfies never}`);
  }
}
