/** Every device that could be opened: hardware adapters, software adapters, then the CPU device. */
import { cpuInfo } from "./cpu/cpu";
import type { DeviceInfo } from "./device";
import { listAdapters as listWebGpu } from "./webgpu/adapter";
import { instance } from "./webgpu/provider";

export { driverHint } from "./webgpu/adapter";

/** WebGPU adapters. Throws a UserError where Dawn cannot be loaded. */
export function listAdapters(): DeviceInfo[] {
  return listWebGpu().map(({ handle, info }) => {
    instance().releaseAdapter(handle);
    return info;
  });
}

export function cpuDevice(): DeviceInfo {
  return cpuInfo();
}

/** Why the CPU device computes by WebAssembly and not by machine code; null where it does by machine code. */
export { whyNot as whyNoMachineCode } from "./cpu/native/features";

/** What to give `--device` for exactly this device. */
export function wantedBy({ kind, name }: DeviceInfo): string {
  return kind === "cpu" ? "cpu" : name;
}
