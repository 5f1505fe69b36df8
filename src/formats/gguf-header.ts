/** The header of a GGUF file: metadata by key, then what tensors there are and where (ggml-org/ggml, docs/gguf.md). */

export type Value =
  | { readonly kind: "u32" | "f32"; readonly value: number }
  | { readonly kind: "bool"; readonly value: boolean }
  | { readonly kind: "string"; readonly value: string }
  | { readonly kind: "strings"; readonly value: readonly string[] }
  | { readonly kind: "i32s"; readonly value: readonly number[] };

export type Metadata = readonly (readonly [key: string, value: Value])[];

/** Where a tensor's data lie, in bytes from the end of the header. */
export interface TensorEntry {
  readonly name: string;
  /** From the dimension on that lies straight in memory. */
  readonly shape: readonly number[];
  /** ggml's number of how it is stored. */
  readonly type: number;
  readonly offset: number;
}

export const ALIGNMENT = 32;

/** GGUF's numbers of the kinds of values. */
const kindIds = { u32: 4, i32: 5, f32: 6, bool: 7, string: 8, array: 9 } as const;

export function headerOf(metadata: Metadata, tensors: readonly TensorEntry[]): Uint8Array {
  const out = new Writer();
  out.bytes(new TextEncoder().encode("GGUF")).u32(3).u64(tensors.length).u64(metadata.length);
  for (const [key, value] of metadata) writeValue(out.string(key), value);
  for (const { name, shape, type, offset } of tensors) {
    out.string(name).u32(shape.length);
    for (const size of shape) out.u64(size);
    out.u32(type).u64(offset);
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
    case "bool":
      out.u32(kindIds.bool).bytes(Uint8Array.of(value ? 1 : 0));
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
