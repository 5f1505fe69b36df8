/** Every adapter that could be opened, hardware first. */
import type { DeviceInfo } from "./device";
import { listAdapters as listWebGpu } from "./webgpu/adapter";
import { instance } from "./webgpu/provider";

export { driverHint } from "./webgpu/adapter";

export function listAdapters(): DeviceInfo[] {
  return listWebGpu().map(({ handle, info }) => {
    instance().releaseAdapter(handle);
    return info;
  });
}
