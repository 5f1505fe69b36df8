/** What only the WebGPU device has: WGSL errors, descriptors that survive the collector, waits that block, a lost device. */
import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { whole } from "../../src/device/device";
import { openDevice } from "../../src/device/open";
import { device } from "../support/device";
import { fillOf, fillSource } from "../support/fill";

const adapter = () => device("adapter");
const openAgain = () => openDevice(adapter().info.name);

test("WGSL that does not compile is refused with its file and line", () => {
  const broken = { name: "broken", source: fillSource.replace("params.value", "params.valu"), entry: "forward" };
  const output = whole(adapter().allocate(256));
  expect(() => adapter().record([fillOf(output, 4, 1, { kernel: broken })])).toThrow(
    /kernels\/broken\.wgsl: [\s\S]*struct member valu not found/,
  );
});

test("descriptors survive a garbage collector that runs at every chance", () => {
  using opened = openAgain();
  const output = whole(opened.allocate(256));
  for (let i = 0; i < 40; i++) {
    const rubbish = Array.from({ length: 200 }, () => new Uint8Array(1000).fill(i));
    Bun.gc(true);
    const kernel = {
      name: `fill${i}`,
      source: `${fillSource}\n// ${i} ${"x".repeat(500)}`,
      entry: "forward",
      constants: { WORKGROUP: 64 },
    };
    using recording = opened.record([fillOf(output, 64, i, { kernel, workgroups: [1, 1, 1] })]);
    Bun.gc(rubbish.length > 0);
    recording.replay();
    const into = new Float32Array(64);
    opened.download(output, into);
    expect(into.every((v) => v === i)).toBe(true);
  }
});

test("waiting costs next to no processor time of its own", () => {
  const buffer = adapter().allocate(4 << 22);
  using recording = adapter().record(Array.from({ length: 60 }, () => fillOf(whole(buffer), 1 << 22, 1)));
  const first = performance.now();
  recording.replay();
  adapter().wait();
  // A fast adapter is given so much that there is something to wait for.
  const times = Math.ceil(50 / (performance.now() - first));
  recording.replay();
  adapter().wait();
  const start = performance.now();
  for (let i = 0; i < times; i++) recording.replay();
  const before = threadTime();
  adapter().wait();
  const elapsed = performance.now() - start;
  expect(elapsed).toBeGreaterThan(5);
  expect(threadTime() - before).toBeLessThan(0.2 * elapsed);
  buffer.free();
});

/** Milliseconds of processor time that this thread, and not the driver's, has used. */
function threadTime(): number {
  const stat = readFileSync("/proc/thread-self/schedstat", "utf8");
  return Number(stat.split(" ")[0]) / 1e6;
}

test("a device that is lost says so at the next call", () => {
  const opened = openAgain();
  const { dawn } = opened as unknown as {
    dawn: { dawn: { call(name: string, handle: unknown): void }; handle: unknown };
  };
  dawn.dawn.call("wgpuDeviceDestroy", dawn.handle);
  expect(() => opened.wait()).toThrow(/the device was lost/);
});
