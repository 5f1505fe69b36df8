/** The device that tests run on: opened on first use, closed at the end. DAWNGRAD_DEVICE chooses it. */
import type { Device } from "../../src/device/device";
import { openDevice } from "../../src/device/open";

let opened: Device | undefined;

export function device(): Device {
  opened ??= openDevice(process.env.DAWNGRAD_DEVICE ?? "auto");
  return opened;
}

export function closeDevice(): void {
  opened?.[Symbol.dispose]();
  opened = undefined;
}
