/** A buffer of the WebGPU device. */
import type { DeviceBuffer } from "../device";
import type { DawnDevice } from "./dawn-device";
import type { Handle } from "./struct";

export class WebGpuBuffer implements DeviceBuffer {
  readonly sizeBytes: number;
  private readonly dawn: DawnDevice;
  private handle: Handle | null;

  constructor(dawn: DawnDevice, handle: Handle, sizeBytes: number) {
    this.dawn = dawn;
    this.handle = handle;
    this.sizeBytes = sizeBytes;
  }

  get live(): Handle {
    if (!this.handle) throw new Error("this buffer was freed");
    return this.handle;
  }

  free(): void {
    if (this.handle) this.dawn.releaseBuffer(this.handle);
    this.handle = null;
  }
}
