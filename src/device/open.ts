/** Opens the device that a command asked for. */
import type { Device } from "./device";
import { openWebGpu } from "./webgpu/webgpu";

/** `wanted`: auto, gpu, software, or a part of an adapter's name. Throws a UserError where none fits. */
export function openDevice(wanted = "auto"): Device {
  return openWebGpu(wanted);
}
