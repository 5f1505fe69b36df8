/** Memory in C's layout: structs packed for calls, texts read out of what calls give back. Offsets: webgpu.h of the bundled Dawn. */
import { CString, type Pointer, ptr, toArrayBuffer } from "bun:ffi";

export type Handle = Pointer;

const NO_LABEL = 0xffff_ffff_ffff_ffffn;

/** A C struct under construction. It keeps alive everything it points to until it is dropped itself. */
export class Struct {
  readonly bytes: Uint8Array;
  private readonly view: DataView;
  private readonly kept: unknown[] = [];

  constructor(size: number) {
    this.bytes = new Uint8Array(size);
    this.view = new DataView(this.bytes.buffer);
  }
  u32(offset: number, value: number): this {
    this.view.setUint32(offset, value, true);
    return this;
  }
  u64(offset: number, value: number | bigint): this {
    this.view.setBigUint64(offset, BigInt(value), true);
    return this;
  }
  f64(offset: number, value: number): this {
    this.view.setFloat64(offset, value, true);
    return this;
  }
  handle(offset: number, value: Handle | null): this {
    return this.u64(offset, value ?? 0);
  }
  /** A pointer to other memory, which lives as long as this struct. */
  pointer(offset: number, target: Struct | Uint8Array | Uint32Array): this {
    const bytes = target instanceof Struct ? target.bytes : target;
    this.kept.push(target);
    return this.u64(offset, ptr(bytes));
  }
  /** A WGPUStringView: pointer and length. */
  string(offset: number, text: string): this {
    const bytes = new TextEncoder().encode(`${text}\0`);
    this.pointer(offset, bytes);
    return this.u64(offset + 8, bytes.length - 1);
  }
  noLabel(offset: number): this {
    return this.u64(offset + 8, NO_LABEL);
  }
}

/** The text of a WGPUStringView. */
export function textAt(view: DataView, offset: number): string {
  const address = Number(view.getBigUint64(offset, true));
  const length = view.getBigUint64(offset + 8, true);
  if (address === 0 || length === 0n) return "";
  if (length === NO_LABEL) return new CString(address as Handle).toString();
  return new TextDecoder().decode(new Uint8Array(toArrayBuffer(address as Handle, 0, Number(length))).slice());
}

/** The text that a callback is given as address and length. */
export function callbackText(address: Handle | null, length: bigint | number): string {
  const size = BigInt(length);
  if (!address || size === 0n || size === NO_LABEL) return "";
  return new TextDecoder().decode(new Uint8Array(toArrayBuffer(address, 0, Number(size))).slice());
}
