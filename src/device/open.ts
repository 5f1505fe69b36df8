/** Opens the device that a command asked for. */
import { UserError } from "../errors";
import { openCpu } from "./cpu/cpu";
import type { Device } from "./device";
import { chooseAdapter, findHardware } from "./webgpu/adapter";
import { WebGpuDevice } from "./webgpu/webgpu";

export interface Opening {
  /** Threads of the CPU device: as many as the machine has cores if absent. */
  readonly threads?: number | undefined;
}

/**
 * `wanted`: auto (a GPU if there is one, else the CPU device), cpu, gpu, software (a WebGPU adapter that runs on the processor),
 * or a part of an adapter's name. Throws a UserError where none fits.
 */
export function openDevice(wanted = "auto", { threads }: Opening = {}): Device {
  const name = wanted.toLowerCase();
  if (name === "cpu") return openCpu(threads);
  if (name === "auto") {
    const gpu = threads === undefined ? findHardware() : null;
    return gpu ? new WebGpuDevice(gpu) : openCpu(threads);
  }
  if (threads !== undefined) {
    throw new UserError("--threads is for the CPU device", {
      hint: "give --device cpu, or leave one of them out",
      exitCode: 2,
    });
  }
  return new WebGpuDevice(chooseAdapter(wanted));
}
