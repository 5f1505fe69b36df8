/**
 * The WebGPU library: Dawn's C interface, called through the symbols that bun-webgpu loads. bun-webgpu's own wrapper
 * classes are not used, because they leak every encoder, poll while they wait, lose nested descriptors to the garbage
 * collector and only print errors. Here every descriptor is packed into memory that stays referenced for the whole call,
 * waiting blocks in `wgpuInstanceWaitAny`, and errors are collected and thrown. Struct layouts: webgpu.h of the bundled Dawn.
 */
import { CString, JSCallback, type Pointer, ptr, toArrayBuffer } from "bun:ffi";
import { createGPUInstance } from "bun-webgpu";
import { UserError } from "../../errors";

export type Handle = Pointer;
type Argument = Handle | NodeJS.TypedArray | bigint | number | boolean | null;
type Symbols = Record<string, (...args: Argument[]) => never>;

const WAIT_ANY_ONLY = 1;
const ALLOW_PROCESS_EVENTS = 2;
const SUCCESS = 1;
const FOREVER_NS = 0xffff_ffff_ffff_ffffn;
const NO_LABEL = 0xffff_ffff_ffff_ffffn;
const STYPE_WGSL = 2;

export const usage = { mapRead: 0x1, copySrc: 0x4, copyDst: 0x8, uniform: 0x40, storage: 0x80, queryResolve: 0x200 };
export const feature = { timestampQuery: 3, shaderF16: 10, subgroups: 17 };
export const backends = ["undefined", "null", "WebGPU", "D3D11", "D3D12", "Metal", "Vulkan", "OpenGL", "OpenGL ES"];

/** A C struct under construction. It keeps alive everything it points to until it is dropped itself. */
class Struct {
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

function textAt(view: DataView, offset: number): string {
  const address = Number(view.getBigUint64(offset, true));
  const length = view.getBigUint64(offset + 8, true);
  if (address === 0 || length === 0n) return "";
  if (length === NO_LABEL) return new CString(address as Handle).toString();
  return new TextDecoder().decode(new Uint8Array(toArrayBuffer(address as Handle, 0, Number(length))).slice());
}

function callbackText(address: Handle | null, length: bigint | number): string {
  const size = BigInt(length);
  if (!address || size === 0n || size === NO_LABEL) return "";
  return new TextDecoder().decode(new Uint8Array(toArrayBuffer(address, 0, Number(size))).slice());
}

export interface AdapterRequest {
  readonly power?: "low-power" | "high-performance";
  readonly fallback?: boolean;
}

export interface AdapterFacts {
  readonly device: string;
  readonly description: string;
  readonly backend: number;
  /** 1 discrete, 2 integrated, 3 CPU, 4 unknown. */
  readonly type: number;
  readonly subgroupMin: number;
  readonly subgroupMax: number;
}

let opened: Instance | undefined;

/** Dawn, loaded once for the process. */
export function instance(): Instance {
  opened ??= new Instance();
  return opened;
}

class Instance {
  private readonly lib: Symbols;
  readonly handle: Handle;
  /** Used again for every wait: a step allocates nothing. */
  private readonly waiting = new Struct(16);

  constructor() {
    let gpu: { lib: Symbols };
    try {
      gpu = createGPUInstance() as unknown as { lib: Symbols };
    } catch (cause) {
      throw new UserError(`the WebGPU library could not be loaded (${String((cause as Error).message)})`, {
        hint: "bun-webgpu ships Dawn for Linux x64 with glibc, macOS and Windows x64 only",
        cause,
      });
    }
    this.lib = gpu.lib;
    // timedWaitAnyEnable lets wgpuInstanceWaitAny block; the default instance may only poll.
    const descriptor = new Struct(64).u32(16, 1).u64(24, 64);
    this.handle = this.call("wgpuCreateInstance", descriptor);
    if (!this.handle) throw new Error("wgpuCreateInstance failed");
  }

  call<T = Handle>(name: string, ...args: (Argument | Struct)[]): T {
    const symbol = this.lib[name];
    if (!symbol) throw new Error(`${name} is not exported by the WebGPU library`);
    return symbol(...args.map((arg) => (arg instanceof Struct ? arg.bytes : arg))) as T;
  }

  /** The function itself, for the hot path. */
  symbol<T>(name: string): T {
    return this.lib[name] as unknown as T;
  }

  /** Blocks until the future is complete and its callback has run. */
  waitFor(future: bigint | number): void {
    const info = this.waiting.u64(0, future).u32(8, 0);
    const status = this.call<number>("wgpuInstanceWaitAny", this.handle, 1n, info, FOREVER_NS);
    if (status !== SUCCESS) throw new Error(`wgpuInstanceWaitAny failed with status ${status}`);
  }

  processEvents(): void {
    this.call("wgpuInstanceProcessEvents", this.handle);
  }

  requestAdapter({ power, fallback = false }: AdapterRequest): Handle | null {
    let found: Handle | null = null;
    const callback = new JSCallback(
      (_status: number, adapter: Handle | null) => {
        found = adapter;
      },
      { args: ["u32", "pointer", "pointer", "u64", "pointer", "pointer"], returns: "void" },
    );
    const options = new Struct(32)
      .u32(8, 2)
      .u32(12, power === "low-power" ? 1 : power ? 2 : 0)
      .u32(16, fallback ? 1 : 0);
    const info = new Struct(40).u32(8, WAIT_ANY_ONLY).handle(16, callback.ptr);
    this.waitFor(this.call<bigint>("wgpuInstanceRequestAdapter", this.handle, options, info));
    callback.close();
    return found;
  }

  adapterFacts(adapter: Handle): AdapterFacts {
    const info = new Struct(96);
    this.call("wgpuAdapterGetInfo", adapter, info);
    const view = new DataView(info.bytes.buffer);
    const facts = {
      device: textAt(view, 40),
      description: textAt(view, 56),
      backend: view.getUint32(72, true),
      type: view.getUint32(76, true),
      subgroupMin: view.getUint32(88, true),
      subgroupMax: view.getUint32(92, true),
    };
    this.call("wgpuAdapterInfoFreeMembers", info);
    return facts;
  }

  /** The adapter's WGPULimits as raw bytes, which requestDevice takes back unchanged: so every limit is passed. */
  adapterLimits(adapter: Handle): Uint8Array {
    const limits = new Struct(168);
    if (this.call<number>("wgpuAdapterGetLimits", adapter, limits) !== SUCCESS) throw new Error("no adapter limits");
    return limits.bytes;
  }

  adapterFeatures(adapter: Handle): Set<number> {
    // The wrapper library copies the list into memory that the caller provides, unlike webgpu.h.
    const features = new Uint32Array(256);
    const list = new Struct(16).pointer(8, features);
    this.call("wgpuAdapterGetFeatures", adapter, list);
    const count = Number(new DataView(list.bytes.buffer).getBigUint64(0, true));
    return new Set(features.subarray(0, count));
  }

  requestDevice(adapter: Handle, limits: Uint8Array, features: readonly number[], onError: OnError): DawnDevice {
    return new DawnDevice(this, adapter, limits, features, onError);
  }

  releaseAdapter(adapter: Handle): void {
    this.call("wgpuAdapterRelease", adapter);
  }
}

export type OnError = (kind: "lost" | "validation" | "out-of-memory" | "internal", message: string) => void;

const errorKinds = { 2: "validation", 3: "out-of-memory" } as const;

/** A Dawn device and its queue. Creation functions return raw handles; whoever asks for one releases it. */
export class DawnDevice {
  readonly handle: Handle;
  readonly queue: Handle;
  private readonly callbacks: JSCallback[] = [];
  private readonly whenDone: Struct;
  private readonly mapped: JSCallback;
  private mapStatus = 0;
  private destroyed = false;
  readonly dawn: Instance;

  constructor(dawn: Instance, adapter: Handle, limits: Uint8Array, features: readonly number[], onError: OnError) {
    this.dawn = dawn;
    const error = this.callback(
      ["pointer", "u32", "pointer", "u64", "pointer", "pointer"],
      (_device, kind, text, size) => {
        onError(errorKinds[kind as 2 | 3] ?? "internal", callbackText(text as Handle, size as bigint));
      },
    );
    const lost = this.callback(
      ["pointer", "u32", "pointer", "u64", "pointer", "pointer"],
      (_device, _reason, text, size) => {
        if (!this.destroyed) onError("lost", callbackText(text as Handle, size as bigint));
      },
    );
    let handle: Handle | null = null;
    let failure = "";
    const got = this.callback(
      ["u32", "pointer", "pointer", "u64", "pointer", "pointer"],
      (_status, device, text, size) => {
        handle = device as Handle | null;
        failure = callbackText(text as Handle, size as bigint);
      },
    );
    const descriptor = new Struct(144)
      .noLabel(8)
      .u64(24, features.length)
      .pointer(32, features.length ? Uint32Array.from(features) : new Uint32Array(1))
      .pointer(40, limits)
      .noLabel(56)
      .u32(80, ALLOW_PROCESS_EVENTS)
      .handle(88, lost.ptr)
      .handle(120, error.ptr);
    const info = new Struct(40).u32(8, WAIT_ANY_ONLY).handle(16, got.ptr);
    dawn.waitFor(dawn.call<bigint>("wgpuAdapterRequestDevice", adapter, descriptor, info));
    if (!handle) throw new UserError(`the adapter gave no device: ${failure || "no reason was given"}`);
    this.handle = handle;
    this.queue = dawn.call("wgpuDeviceGetQueue", this.handle);
    const done = this.callback(["u32", "pointer", "pointer"], () => {});
    this.whenDone = new Struct(40).u32(8, WAIT_ANY_ONLY).handle(16, done.ptr);
    this.mapped = this.callback(["u32", "pointer", "u64", "pointer", "pointer"], (status) => {
      this.mapStatus = status as number;
    });
  }

  private callback(args: readonly string[], f: (...values: unknown[]) => void): JSCallback {
    const callback = new JSCallback(f as never, { args: args as never, returns: "void" });
    this.callbacks.push(callback);
    return callback;
  }

  createBuffer(sizeBytes: number, usages: number): Handle {
    const descriptor = new Struct(48).noLabel(8).u64(24, usages).u64(32, sizeBytes);
    return this.dawn.call("wgpuDeviceCreateBuffer", this.handle, descriptor);
  }

  releaseBuffer(buffer: Handle): void {
    if (this.destroyed) return;
    this.dawn.call("wgpuBufferDestroy", buffer);
    this.dawn.call("wgpuBufferRelease", buffer);
  }

  writeBuffer(buffer: Handle, offsetBytes: number, data: NodeJS.TypedArray): void {
    this.dawn.call("wgpuQueueWriteBuffer", this.queue, buffer, BigInt(offsetBytes), ptr(data), BigInt(data.byteLength));
  }

  createModule(code: string): Handle {
    const source = new Struct(32).u32(8, STYPE_WGSL).string(16, code);
    return this.dawn.call("wgpuDeviceCreateShaderModule", this.handle, new Struct(24).pointer(0, source).noLabel(8));
  }

  createComputePipeline(module: Handle, entry: string, constants: readonly (readonly [string, number])[]): Handle {
    const entries = new Struct(Math.max(1, constants.length) * 32);
    constants.forEach(([key, value], i) => {
      entries.string(32 * i + 8, key).f64(32 * i + 24, value);
    });
    const descriptor = new Struct(80)
      .noLabel(8)
      .handle(40, module)
      .string(48, entry)
      .u64(64, constants.length)
      .pointer(72, entries);
    return this.dawn.call("wgpuDeviceCreateComputePipeline", this.handle, descriptor);
  }

  bindGroupLayout(pipeline: Handle): Handle {
    return this.dawn.call("wgpuComputePipelineGetBindGroupLayout", pipeline, 0);
  }

  createBindGroup(
    layout: Handle,
    windows: readonly { buffer: Handle; offsetBytes: number; sizeBytes: number }[],
  ): Handle {
    const entries = new Struct(56 * windows.length);
    windows.forEach(({ buffer, offsetBytes, sizeBytes }, i) => {
      const at = 56 * i;
      entries
        .u32(at + 8, i)
        .handle(at + 16, buffer)
        .u64(at + 24, offsetBytes)
        .u64(at + 32, sizeBytes);
    });
    const descriptor = new Struct(48).noLabel(8).handle(24, layout).u64(32, windows.length).pointer(40, entries);
    return this.dawn.call("wgpuDeviceCreateBindGroup", this.handle, descriptor);
  }

  createTimestamps(count: number): Handle {
    return this.dawn.call("wgpuDeviceCreateQuerySet", this.handle, new Struct(40).noLabel(8).u32(24, 2).u32(28, count));
  }

  release(
    kind: "ShaderModule" | "ComputePipeline" | "BindGroupLayout" | "BindGroup" | "QuerySet",
    handle: Handle,
  ): void {
    if (!this.destroyed) this.dawn.call(`wgpu${kind}Release`, handle);
  }

  /** A future that completes when all work submitted so far is done. */
  submittedWorkDone(): bigint {
    return this.dawn.call<bigint>("wgpuQueueOnSubmittedWorkDone", this.queue, this.whenDone);
  }

  /** Maps a buffer for reading, blocking; `read` sees the mapped bytes, which are gone afterwards. */
  readMapped(buffer: Handle, sizeBytes: number, read: (bytes: ArrayBuffer) => void): void {
    const info = new Struct(40).u32(8, WAIT_ANY_ONLY).handle(16, this.mapped.ptr);
    this.dawn.waitFor(this.dawn.call<bigint>("wgpuBufferMapAsync", buffer, 1n, 0n, BigInt(sizeBytes), info));
    if (this.mapStatus !== SUCCESS) throw new Error(`mapping a buffer failed with status ${this.mapStatus}`);
    const address = this.dawn.call("wgpuBufferGetConstMappedRange", buffer, 0n, BigInt(sizeBytes));
    read(toArrayBuffer(address, 0, sizeBytes));
    this.dawn.call("wgpuBufferUnmap", buffer);
  }

  destroy(): void {
    if (this.destroyed) return;
    this.destroyed = true;
    this.dawn.call("wgpuQueueRelease", this.queue);
    this.dawn.call("wgpuDeviceDestroy", this.handle);
    this.dawn.processEvents();
    this.dawn.call("wgpuDeviceRelease", this.handle);
    for (const callback of this.callbacks) callback.close();
  }
}

/** A compute pass descriptor that takes two timestamps. Keep the returned object as long as its bytes are used. */
export function timedPass(querySet: Handle, begin: number, end: number): { readonly bytes: Uint8Array } {
  return new Struct(32).noLabel(8).pointer(24, new Struct(24).handle(8, querySet).u32(16, begin).u32(20, end));
}
