/** Opens the device that a command asked for. */
import { UserError } from "../errors";
import { openCpu } from "./cpu/cpu";
import type { VectorChoice } from "./cpu/vectors";
import type { Device } from "./device";
import { chooseAdapter, findHardware } from "./webgpu/adapter";
import { WebGpuDevice } from "./webgpu/webgpu";

export { choices as vectorChoices, type VectorChoice } from "./cpu/vectors";

export interface Opening {
  /** Threads of the CPU device: as many as the machine has cores if absent. */
  readonly threads?: number | undefined;
  /** The instructions that the CPU device computes with: the best that there are if absent. */
  readonly vectors?: VectorChoice | undefined;
  /**
   * Whether every index that a kernel reads or writes at is held within its buffer: on software adapters if absent. Kernels keep within
   * their buffers by themselves, and a GPU pays for the checks: a training step of gpt2 on an H200 took 1.35 times as long.
   */
  readonly checked?: boolean | undefined;
}

/**
 * `wanted`: auto (a GPU if there is one, else the CPU device), cpu, gpu, software (a WebGPU adapter that runs on the processor),
 * or a part of an adapter's name. Throws a UserError where none fits.
 */
export function openDevice(wanted = "auto", { threads, vectors, checked }: Opening = {}): Device {
  const name = wanted.toLowerCase();
  const ofCpu = threads !== undefined ? "--threads" : vectors !== undefined ? "--vectors" : null;
  if (name === "cpu") return openCpu(threads, vectors);
  if (name === "auto") {
    const gpu = ofCpu ? null : findHardware();
    return gpu ? new WebGpuDevice(gpu, checked) : openCpu(threads, vectors);
  }
  if (ofCpu) {
    throw new UserError(`${ofCpu} is for the CPU device`, {
      hint: "give --device cpu, or leave one of them out",
      exitCode: 2,
    });
  }
  return new WebGpuDevice(chooseAdapter(wanted), checked);
}
