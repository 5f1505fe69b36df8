/** The device seam: buffers of bytes and recorded lists of dispatches. Nothing here knows tensors or WebGPU. */

/** A kernel is an entry point of one file in kernels/, specialised by constants. */
export interface Kernel {
  readonly name: string;
  readonly source: string;
  readonly entry: string;
  /** Values of `override` declarations. Booleans are passed as 0 and 1. */
  readonly constants?: Readonly<Record<string, number | boolean>>;
  /** Redefinitions of top-level `const` and `alias` lines: lengths of register arrays, and types. */
  readonly specialize?: Readonly<Record<string, number | string>>;
}

export type Workgroups = readonly [x: number, y: number, z: number];

/** A window of a buffer. Offsets are multiples of 256 bytes, which any device can bind. */
export interface Slice {
  readonly buffer: DeviceBuffer;
  readonly offsetBytes: number;
  readonly sizeBytes: number;
}

/** One launch: binding 0 is the params, binding 1 `output`, bindings 2 and up `inputs`, in order. */
export interface Dispatch {
  readonly kernel: Kernel;
  /** Values of the kernel's `Params`, by name and in its order; f32 or u32 as the struct says. */
  readonly params: Readonly<Record<string, number>>;
  readonly output: Slice;
  readonly inputs: readonly Slice[];
  readonly workgroups: Workgroups;
}

export interface DeviceBuffer {
  readonly sizeBytes: number;
  free(): void;
}

/** What an op may ask of the device before it chooses a kernel. */
export interface Traits {
  /** Not a GPU: loads and barriers are dear, arithmetic is cheap. */
  readonly software: boolean;
  /** Lanes of a subgroup where subgroup operations may be used and the width is fixed, else 0. */
  readonly subgroupSize: number;
  /** Bytes that the invocations of a workgroup may share. */
  readonly workgroupBytes: number;
  /** Invocations of a workgroup. */
  readonly invocations: number;
  /** Kernels may compute in 16 bits. */
  readonly f16: boolean;
  readonly maxBindingBytes: number;
  readonly maxBufferBytes: number;
}

export interface DeviceInfo {
  readonly name: string;
  readonly driver: string;
  /** A GPU, a WebGPU adapter that runs on the processor, or the built-in CPU device. */
  readonly kind: "hardware" | "software" | "cpu";
  readonly backend: string;
  /** What computes: where it is another, a number's last digits may be others. */
  readonly arithmetic: string;
  readonly features: readonly string[];
  readonly limits: Readonly<Record<string, number>>;
}

/** A list of dispatches made ready once. `replay` submits it; it returns before the work is done. */
export interface Recording extends Disposable {
  replay(): void;
  readonly dispatches: number;
}

export type Bytes = Float32Array | Uint32Array | Uint16Array | Uint8Array;

/** A place that computes. Every method throws when the device has failed or was lost since the last call. */
export interface Device extends Disposable {
  readonly info: DeviceInfo;
  readonly traits: Traits;
  /** Bytes that could still be allocated, null where nobody says. */
  freeBytes(): number | null;
  /** A zeroed buffer. */
  allocate(sizeBytes: number): DeviceBuffer;
  upload(target: Slice, data: Bytes): void;
  /** Waits for all work submitted so far, then copies `source` into `into`, whose length says how much. */
  download(source: Slice, into: Bytes): void;
  /** Makes a kernel ready, or throws what is wrong with it. Recordings do this by themselves. */
  compile(kernel: Kernel): void;
  record(dispatches: readonly Dispatch[]): Recording;
  /** Blocks, without spinning, until all submitted work is done. */
  wait(): void;
  /** Runs `f` and says how long each kernel ran on the device, where it can time them. */
  profile(f: () => void): readonly KernelTime[] | null;
}

export interface KernelTime {
  readonly kernel: string;
  readonly count: number;
  readonly microseconds: number;
}

/** The device as one that says other things of itself: kernels are chosen for those. */
export function withTraits(device: Device, traits: Partial<Traits>): Device {
  return Object.create(device, { traits: { value: { ...device.traits, ...traits } } });
}

/** Workgroup counts for `count` invocations, folded over y once x would pass 65,535. */
export function linear(count: number, workgroupSize: number): Workgroups {
  const groups = Math.max(1, Math.ceil(count / workgroupSize));
  if (groups <= 65535) return [groups, 1, 1];
  const y = Math.ceil(groups / 65535);
  return [Math.ceil(groups / y), y, 1];
}

/** A whole buffer as a slice. */
export function whole(buffer: DeviceBuffer): Slice {
  return { buffer, offsetBytes: 0, sizeBytes: buffer.sizeBytes };
}
