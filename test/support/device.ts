/**
 * The devices that tests run on: a WebGPU adapter, the CPU device, and where that computes by machine code also one by WebAssembly. Each
 * is opened on first use and closed at the end. A missing adapter fails the tests that need it. DAWNGRAD_DEVICE chooses the adapter, by
 * default a GPU if there is one.
 */
import { afterAll, beforeAll, describe } from "bun:test";
import { openCpu } from "../../src/device/cpu/cpu";
import { vectorsOf } from "../../src/device/cpu/vectors";
import { type Device, withTraits } from "../../src/device/device";
import { listAdapters } from "../../src/device/list";
import { openDevice } from "../../src/device/open";

export type Kind = "adapter" | "cpu" | "wasm";

/** The kinds of the CPU device on this machine. */
export const cpuKinds: readonly Kind[] = vectorsOf() === "native" ? ["cpu", "wasm"] : ["cpu"];

const opened = new Map<Kind, Device>();
let current: Kind = "adapter";

/** The device of that kind; by default the one that the tests of an `onEachDevice` now run on. */
export function device(kind: Kind = current): Device {
  let found = opened.get(kind);
  if (!found) {
    found = kind === "adapter" ? openAdapter() : openCpu(undefined, kind === "wasm" ? "wasm" : "auto");
    opened.set(kind, found);
  }
  return found;
}

/** What a software adapter says of itself, for the kernels of GPUs by the memory that a workgroup may share. */
const gpu = { software: false, subgroupSize: 0, invocations: 256, f16: false };
export const gpuForms = {
  gpu: { ...gpu, workgroupBytes: 32768 },
  "small-gpu": { ...gpu, workgroupBytes: 16384 },
};

/** DAWNGRAD_FORMS chooses kernels as one of `gpuForms`; DAWNGRAD_CHECKED=0 runs them as on GPUs, without a check of every index. */
function openAdapter(): Device {
  const { DAWNGRAD_FORMS: forms, DAWNGRAD_CHECKED: checked } = process.env;
  const opened = openDevice(adapterName(), { checked: checked === undefined ? undefined : checked === "1" });
  return forms ? withTraits(opened, gpuForms[forms as keyof typeof gpuForms]) : opened;
}

/** What `--device` calls the adapter under test. */
export function adapterName(): string {
  const hardware = () => listAdapters().some(({ kind }) => kind === "hardware");
  return process.env.DAWNGRAD_DEVICE ?? (hardware() ? "gpu" : "software");
}

/** The same tests on the adapter and on the CPU device of each kind. */
export function onEachDevice(tests: () => void): void {
  describe.each(["adapter", ...cpuKinds])("on the %s", (kind) => {
    beforeAll(() => {
      current = kind;
    });
    afterAll(() => {
      current = "adapter";
    });
    tests();
  });
}

export function closeDevices(): void {
  for (const device of opened.values()) device[Symbol.dispose]();
  opened.clear();
}
