/** A Dawn device and its queue: what is made on it, written to it and read back, each by one call of the C interface. */
import { JSCallback, ptr, toArrayBuffer } from "bun:ffi";
import { UserError } from "../../errors";
import { type Instance, SUCCESS, WAIT_ANY_ONLY } from "./provider";
import { callbackText, type Handle, Struct } from "./struct";

const ALLOW_PROCESS_EVENTS = 2;
const STYPE_WGSL = 2;
const STYPE_TOGGLES = 327690;

export const usage = { mapRead: 0x1, copySrc: 0x4, copyDst: 0x8, uniform: 0x40, storage: 0x80, queryResolve: 0x200 };

export type OnError = (kind: "lost" | "validation" | "out-of-memory" | "internal", message: string) => void;

const errorKinds = { 2: "validation", 3: "out-of-memory" } as const;

/** Switches of Dawn's own, by name. */
export interface Toggles {
  readonly on: readonly string[];
  readonly off: readonly string[];
}

/** Creation functions return raw handles; whoever asks for one releases it. */
export class DawnDevice {
  readonly handle: Handle;
  readonly queue: Handle;
  private readonly callbacks: JSCallback[] = [];
  private readonly whenDone: Struct;
  private readonly mapped: JSCallback;
  private mapStatus = 0;
  private destroyed = false;
  readonly dawn: Instance;

  constructor(
    dawn: Instance,
    { handle: adapter, limits }: { readonly handle: Handle; readonly limits: Uint8Array },
    { features, toggles }: { readonly features: readonly number[]; readonly toggles: Toggles },
    onError: OnError,
  ) {
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
      .pointer(0, togglesOf(toggles))
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

function togglesOf({ on, off }: Toggles): Struct {
  return new Struct(48)
    .u32(8, STYPE_TOGGLES)
    .u64(16, on.length)
    .pointer(24, namesOf(on))
    .u64(32, off.length)
    .pointer(40, namesOf(off));
}

/** An array of C strings. */
function namesOf(names: readonly string[]): Struct {
  const array = new Struct(8 * Math.max(1, names.length));
  names.forEach((name, i) => {
    array.pointer(8 * i, new TextEncoder().encode(`${name}\0`));
  });
  return array;
}

/** A compute pass descriptor that takes two timestamps. Keep the returned object as long as its bytes are used. */
export function timedPass(querySet: Handle, begin: number, end: number): { readonly bytes: Uint8Array } {
  return new Struct(32).noLabel(8).pointer(24, new Struct(24).handle(8, querySet).u32(16, begin).u32(20, end));
}
