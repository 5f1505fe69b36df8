/**
 * The WebGPU library: Dawn's C interface, called through the symbols that bun-webgpu loads. bun-webgpu's own wrapper
 * classes are not used, because they leak every encoder, poll while they wait, lose nested descriptors to the garbage
 * collector and only print errors. Here every descriptor is packed into memory that stays referenced for the whole call,
 * waiting blocks in `wgpuInstanceWaitAny`, and errors are collected and thrown.
 */
import { JSCallback } from "bun:ffi";
import { createGPUInstance } from "bun-webgpu";
import { UserError } from "../../errors";
import { type Handle, Struct, textAt } from "./struct";

type Argument = Handle | NodeJS.TypedArray | bigint | number | boolean | null;
type Symbols = Record<string, (...args: Argument[]) => never>;

export const WAIT_ANY_ONLY = 1;
export const SUCCESS = 1;
const FOREVER_NS = 0xffff_ffff_ffff_ffffn;

export const feature = { timestampQuery: 3, shaderF16: 10, subgroups: 17 };
export const backends = ["undefined", "null", "WebGPU", "D3D11", "D3D12", "Metal", "Vulkan", "OpenGL", "OpenGL ES"];

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

export class Instance {
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

  releaseAdapter(adapter: Handle): void {
    this.call("wgpuAdapterRelease", adapter);
  }
}
