/** The CPU device: the seam of device.ts over WebAssembly SIMD kernels and threads. A replay is done when it returns. */
import { availableParallelism, cpus } from "node:os";
import { UserError } from "../../errors";
import { expectBinding } from "../binding";
import type {
  Bytes,
  Device,
  DeviceBuffer,
  DeviceInfo,
  Dispatch,
  Kernel,
  KernelTime,
  Recording,
  Slice,
  Traits,
} from "../device";
import { mebibytes } from "../size";
import { fuse } from "./fuse";
import { MOST_BYTES } from "./heap";
import { JOB, takeTime, writeJob } from "./jobs";
import { kernelName } from "./kernels";
import { Pool } from "./pool";
import { type VectorChoice, type Vectors, vectorsOf } from "./vectors";

/** `threads`: as many as the machine has cores if absent. Throws a UserError for more, and where the engine lacks a feature. */
export function openCpu(threads = availableParallelism(), vectors?: VectorChoice): CpuDevice {
  const cores = availableParallelism();
  if (!Number.isInteger(threads) || threads < 1 || threads > cores) {
    throw new UserError(`--threads ${threads}: this machine runs ${cores} at a time`, {
      hint: `give a number from 1 to ${cores}, or leave it out for ${cores}`,
      exitCode: 2,
    });
  }
  return new CpuDevice(threads, vectorsOf(vectors));
}

const drivers: Readonly<Record<Vectors, string>> = { native: "AVX2 and FMA", wasm: "WebAssembly SIMD" };

/** What the CPU device would be called here, without opening it. */
export function cpuInfo(threads = availableParallelism(), vectors = vectorsOf()): DeviceInfo {
  return {
    name: cpus()[0]?.model.trim() || process.arch,
    driver: `${drivers[vectors]}, ${threads} thread${threads === 1 ? "" : "s"}`,
    kind: "cpu",
    backend: "built in",
    arithmetic: drivers[vectors],
    features: [],
    limits: { maxBufferSize: MOST_BYTES, threads },
  };
}

export class CpuDevice implements Device {
  readonly info: DeviceInfo;
  readonly traits: Traits = {
    software: true,
    subgroupSize: 0,
    workgroupBytes: 0,
    invocations: 1,
    f16: false,
    maxBindingBytes: MOST_BYTES,
    maxBufferBytes: MOST_BYTES,
  };
  readonly pool: Pool;
  timer: Map<string, KernelTime> | null = null;
  private disposed = false;

  constructor(threads: number, vectors: Vectors) {
    this.info = cpuInfo(threads, vectors);
    this.pool = new Pool(threads, vectors);
  }

  private check(what: string): void {
    if (this.disposed) throw new Error(`${what}: the device was closed`);
  }

  freeBytes(): number {
    return this.pool.heap.freeBytes;
  }

  allocate(sizeBytes: number): DeviceBuffer {
    this.check("allocate");
    const size = Math.max(16, Math.ceil(sizeBytes / 16) * 16);
    if (size > MOST_BYTES) {
      throw new UserError(`a buffer of ${mebibytes(size)} is needed, and this device allows ${mebibytes(MOST_BYTES)}`, {
        hint: "use fewer rows or tokens a batch, or a smaller model",
      });
    }
    return new CpuBuffer(this.pool, size);
  }

  upload(target: Slice, data: Bytes): void {
    this.check("upload");
    if (data.byteLength > target.sizeBytes)
      throw new Error(`upload: ${data.byteLength} bytes do not fit ${target.sizeBytes}`);
    this.pool.heap.bytes.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), addressOf(target));
  }

  download(source: Slice, into: Bytes): void {
    this.check("download");
    const size = into.byteLength;
    if (size > source.sizeBytes) throw new Error(`download: ${size} bytes asked of ${source.sizeBytes}`);
    const at = addressOf(source);
    new Uint8Array(into.buffer, into.byteOffset, size).set(this.pool.heap.bytes.subarray(at, at + size));
  }

  compile(kernel: Kernel): void {
    this.kernel(kernel);
  }

  /** The number of a kernel in the pool. */
  kernel({ name, entry }: Kernel): number {
    const found = this.pool.kernel(kernelName(name, entry));
    if (found === undefined) throw new Error(`kernels/cpu has no ${name} with an entry ${entry}`);
    return found;
  }

  record(dispatches: readonly Dispatch[]): Recording {
    this.check("record");
    return new CpuRecording(this, dispatches);
  }

  wait(): void {
    this.check("wait");
  }

  profile(f: () => void): readonly KernelTime[] {
    this.timer = new Map();
    try {
      f();
      return [...this.timer.values()].sort((a, b) => b.microseconds - a.microseconds);
    } finally {
      this.timer = null;
    }
  }

  [Symbol.dispose](): void {
    if (this.disposed) return;
    this.disposed = true;
    this.pool[Symbol.dispose]();
  }
}

class CpuRecording implements Recording {
  readonly dispatches: number;
  private readonly device: CpuDevice;
  private readonly names: readonly string[];
  private readonly first: number;
  private readonly end: number;
  private freed = false;

  constructor(device: CpuDevice, unfused: readonly Dispatch[]) {
    this.device = device;
    const dispatches = fuse(unfused);
    this.dispatches = dispatches.length;
    this.names = dispatches.map(({ kernel }) => `${kernel.name}.${kernel.entry}`);
    const kernels = dispatches.map(({ kernel }) => device.kernel(kernel));
    const { heap } = device.pool;
    this.first = heap.allocate(JOB * dispatches.length);
    this.end = this.first + JOB * dispatches.length;
    const view = new DataView(heap.memory.buffer);
    try {
      dispatches.forEach((dispatch, i) => {
        for (const slice of [dispatch.output, ...dispatch.inputs]) expectBinding(slice, dispatch, device.traits);
        writeJob(view, this.first + JOB * i, dispatch, { kernel: kernels[i]!, address: addressOf });
      });
    } catch (error) {
      heap.free(this.first);
      throw error;
    }
  }

  replay(): void {
    if (this.freed) throw new Error("this recording was disposed");
    const { pool, timer } = this.device;
    pool.replay(this.first, this.end, timer !== null);
    if (timer) this.takeTimes(timer);
  }

  private takeTimes(timer: Map<string, KernelTime>): void {
    const view = new DataView(this.device.pool.heap.memory.buffer);
    this.names.forEach((kernel, i) => {
      const before = timer.get(kernel) ?? { count: 0, microseconds: 0 };
      const microseconds = before.microseconds + takeTime(view, this.first + JOB * i);
      timer.set(kernel, { kernel, count: before.count + 1, microseconds });
    });
  }

  [Symbol.dispose](): void {
    if (this.freed) return;
    this.freed = true;
    this.device.pool.heap.free(this.first);
  }
}

class CpuBuffer implements DeviceBuffer {
  readonly sizeBytes: number;
  private readonly pool: Pool;
  private at: number | null;

  constructor(pool: Pool, sizeBytes: number) {
    this.pool = pool;
    this.sizeBytes = sizeBytes;
    this.at = pool.heap.allocate(sizeBytes);
  }

  get live(): number {
    if (this.at === null) throw new Error("this buffer was freed");
    return this.at;
  }

  free(): void {
    if (this.at !== null) this.pool.heap.free(this.at);
    this.at = null;
  }
}

function addressOf({ buffer, offsetBytes }: Slice): number {
  return (buffer as CpuBuffer).live + offsetBytes;
}
