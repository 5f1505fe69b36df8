/** The WebGPU device: the seam of device.ts over Dawn. */
import { freemem } from "node:os";
import { UserError } from "../../errors";
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
import type { Adapter } from "./adapter";
import { WebGpuBuffer } from "./buffer";
import { DawnDevice, type OnError, usage } from "./dawn-device";
import { Pipelines } from "./pipelines";
import { Profiler } from "./profiler";
import { feature, instance } from "./provider";
import { type Submission, WebGpuRecording } from "./recording";
import type { Handle } from "./struct";

/** How many submits may be under way before the next one waits for the oldest. */
const IN_FLIGHT = 3;

export class WebGpuDevice implements Device, Submission {
  readonly info: DeviceInfo;
  readonly traits: Traits;
  readonly dawn: DawnDevice;
  readonly pipelines: Pipelines;
  readonly uniformAlignment: number;
  timer: Profiler | null = null;
  private readonly pending: bigint[] = [];
  private readonly oneCommand = new BigUint64Array(1);
  private staging: { handle: Handle; sizeBytes: number } | null = null;
  private fault: Parameters<OnError> | null = null;
  private disposed = false;

  /** `checked`: as in Opening. */
  constructor(adapter: Adapter, checked = adapter.info.kind === "software") {
    this.info = adapter.info;
    const { limits } = adapter.info;
    expectLimits(limits);
    this.uniformAlignment = limits.minUniformBufferOffsetAlignment!;
    this.traits = {
      software: adapter.info.kind === "software",
      subgroupSize: adapter.subgroupSize,
      workgroupBytes: limits.maxComputeWorkgroupStorageSize!,
      invocations: limits.maxComputeInvocationsPerWorkgroup!,
      f16: adapter.features.has(feature.shaderF16),
      maxBindingBytes: limits.maxStorageBufferBindingSize!,
      maxBufferBytes: limits.maxBufferSize!,
    };
    const features = Object.values(feature).filter((id) => adapter.features.has(id));
    const toggles = { on: checked ? [] : ["disable_robustness"], off: ["timestamp_quantization"] };
    this.dawn = new DawnDevice(instance(), adapter, { features, toggles }, (...fault) => {
      this.fault ??= fault;
    });
    this.pipelines = new Pipelines(this.dawn, (what) => this.check(what));
  }

  /** Throws what the device has reported since the last call. */
  check(what: string): void {
    if (this.disposed) throw new Error(`${what}: the device was closed`);
    if (!this.fault) return;
    const [kind, message] = this.fault;
    const text = message.trim();
    if (kind === "lost")
      throw new UserError(`the device was lost (${what}): ${text}`, { hint: "resume from the last checkpoint" });
    this.fault = null;
    if (kind === "out-of-memory") {
      throw new UserError(`out of device memory: ${what}`, {
        hint: "use fewer rows or tokens a batch, or a smaller model",
      });
    }
    throw new Error(`${what}: ${text}`);
  }

  /** A software adapter takes main memory. WebGPU does not say how much a GPU has. */
  freeBytes(): number | null {
    return this.info.kind === "software" ? freemem() : null;
  }

  allocate(sizeBytes: number): DeviceBuffer {
    const size = Math.max(16, Math.ceil(sizeBytes / 16) * 16);
    if (size > this.traits.maxBufferBytes) {
      throw new UserError(
        `a buffer of ${mebibytes(size)} is needed, and this device allows ${mebibytes(this.traits.maxBufferBytes)}`,
        {
          hint: "use fewer rows or tokens a batch, or a smaller model",
        },
      );
    }
    const handle = this.dawn.createBuffer(size, usage.storage | usage.copySrc | usage.copyDst);
    this.check(`a buffer of ${mebibytes(size)}`);
    return new WebGpuBuffer(this.dawn, handle, size);
  }

  upload({ buffer, offsetBytes, sizeBytes }: Slice, data: Bytes): void {
    if (data.byteLength > sizeBytes) throw new Error(`upload: ${data.byteLength} bytes do not fit ${sizeBytes}`);
    if (data.byteLength === 0) return;
    this.dawn.writeBuffer((buffer as WebGpuBuffer).live, offsetBytes, wholeWords(data));
    this.check("upload");
  }

  download({ buffer, offsetBytes, sizeBytes }: Slice, into: Bytes): void {
    const size = into.byteLength;
    if (size > sizeBytes) throw new Error(`download: ${size} bytes asked of ${sizeBytes}`);
    if (size === 0) return;
    const staging = this.stagingFor(size);
    const { dawn } = this.dawn;
    const encoder: Handle = dawn.call("wgpuDeviceCreateCommandEncoder", this.dawn.handle, null);
    const source = (buffer as WebGpuBuffer).live;
    dawn.call("wgpuCommandEncoderCopyBufferToBuffer", encoder, source, BigInt(offsetBytes), staging, 0n, BigInt(size));
    const commands: Handle = dawn.call("wgpuCommandEncoderFinish", encoder, null);
    dawn.call("wgpuCommandEncoderRelease", encoder);
    this.submit(commands);
    this.wait();
    this.dawn.readMapped(staging, size, (bytes) => {
      new Uint8Array(into.buffer, into.byteOffset, size).set(new Uint8Array(bytes));
    });
    this.check("download");
  }

  private stagingFor(sizeBytes: number): Handle {
    if (!this.staging || this.staging.sizeBytes < sizeBytes) {
      if (this.staging) this.dawn.releaseBuffer(this.staging.handle);
      const size = Math.max(65536, 2 ** Math.ceil(Math.log2(sizeBytes)));
      this.staging = { handle: this.dawn.createBuffer(size, usage.mapRead | usage.copyDst), sizeBytes: size };
      this.check("a staging buffer");
    }
    return this.staging.handle;
  }

  compile(kernel: Kernel): void {
    this.pipelines.get(kernel);
  }

  record(dispatches: readonly Dispatch[]): Recording {
    return new WebGpuRecording(this, dispatches);
  }

  submit(commands: Handle): void {
    if (this.pending.length >= IN_FLIGHT) this.dawn.dawn.waitFor(this.pending.shift()!);
    const { dawn } = this.dawn;
    this.oneCommand[0] = BigInt(commands);
    dawn.call("wgpuQueueSubmit", this.dawn.queue, 1n, this.oneCommand);
    dawn.call("wgpuCommandBufferRelease", commands);
    this.pending.push(this.dawn.submittedWorkDone());
    this.check("submit");
  }

  wait(): void {
    while (this.pending.length) this.dawn.dawn.waitFor(this.pending.shift()!);
    this.dawn.dawn.processEvents();
    this.check("waiting for the device");
  }

  profile(f: () => void): readonly KernelTime[] | null {
    if (!this.info.features.includes("timestampQuery")) {
      f();
      return null;
    }
    this.timer = new Profiler(this.dawn);
    try {
      f();
      this.wait();
      return this.timer.table;
    } finally {
      this.timer.free();
      this.timer = null;
    }
  }

  [Symbol.dispose](): void {
    if (this.disposed) return;
    while (this.pending.length) this.dawn.dawn.waitFor(this.pending.shift()!);
    if (this.staging) this.dawn.releaseBuffer(this.staging.handle);
    this.pipelines.free();
    this.disposed = true;
    this.dawn.destroy();
  }
}

/** What every kernel may take for granted: https://www.w3.org/TR/webgpu/#limits. */
export function expectLimits(limits: DeviceInfo["limits"]): void {
  const least = { maxComputeInvocationsPerWorkgroup: 256, maxComputeWorkgroupStorageSize: 16384 };
  for (const [name, needed] of Object.entries(least)) {
    if (limits[name]! >= needed) continue;
    throw new UserError(`this adapter's ${name} is ${limits[name]}, and kernels need ${needed}`, {
      hint: "--device cpu needs no adapter",
    });
  }
}

/** WebGPU writes words of 4 bytes: an odd number of 16-bit values is followed by a zero. */
function wholeWords(data: Bytes): Bytes {
  if (data.byteLength % 4 === 0) return data;
  const padded = new Uint8Array(Math.ceil(data.byteLength / 4) * 4);
  padded.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
  return padded;
}
