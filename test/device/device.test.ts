/** The device: errors that abort, memory that does not grow, timings, and descriptors that survive the collector. */
import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { trainingStep } from "../../src/app/bench";
import { checkDevice } from "../../src/app/self-test";
import { type Dispatch, linear, whole } from "../../src/device/device";
import { listAdapters } from "../../src/device/list";
import { openDevice } from "../../src/device/open";
import { device } from "../support/device";

const source = await Bun.file("kernels/fill.wgsl").text();
const fillOf = (output: Dispatch["output"], count: number, value: number, over: Partial<Dispatch> = {}): Dispatch => ({
  kernel: { name: "fill", source, entry: "forward" },
  params: { count, value },
  output,
  inputs: [],
  workgroups: linear(count, 256),
  ...over,
});

test("there is an adapter that computes", () => {
  expect(listAdapters().length).toBeGreaterThan(0);
  expect(listAdapters().every(({ backend }) => backend !== "null")).toBe(true);
  expect(checkDevice(device())).toBeLessThan(1e-4);
});

describe("choosing", () => {
  test("by a part of the name finds the adapter", () => {
    using opened = openDevice(device().info.name.slice(0, 5).toUpperCase());
    expect(opened.info.name).toBe(device().info.name);
  });
  test("what is not there says what is", () => {
    expect(() => openDevice("no-such-adapter")).toThrow("no adapter fits --device no-such-adapter");
  });
});

describe("buffers", () => {
  test("begin as zeros and keep what is uploaded", () => {
    const buffer = device().allocate(64);
    const into = new Float32Array(16);
    device().download(whole(buffer), into);
    expect(into).toEqual(new Float32Array(16));
    const data = into.map((_, i) => i);
    device().upload(whole(buffer), data);
    device().download(whole(buffer), into);
    expect(into).toEqual(data);
    buffer.free();
    expect(() => device().download(whole(buffer), into)).toThrow("this buffer was freed");
  });
  test("larger than the device allows are refused with the numbers", () => {
    expect(() => device().allocate(2 ** 50)).toThrow(/a buffer of \d+ MiB is needed, and this device allows \d+ MiB/);
  });
});

describe("errors abort", () => {
  const output = whole(device().allocate(256));
  test("WGSL that does not compile, with its file and line", () => {
    const broken = { name: "broken", source: source.replace("params.value", "params.valu"), entry: "forward" };
    expect(() => device().record([fillOf(output, 4, 1, { kernel: broken })])).toThrow(
      /kernels\/broken\.wgsl: [\s\S]*struct member valu not found/,
    );
  });
  test("params that are not the kernel's", () => {
    expect(() => device().record([fillOf(output, 4, 1, { params: { count: 4, worth: 1 } })])).toThrow(
      "params are {count,worth}, the kernel's struct says {count,value}",
    );
  });
  test("bindings that the kernel does not have", () => {
    expect(() => device().record([fillOf(output, 4, 1, { inputs: [output] })])).toThrow(/binding fill forward: /);
  });
  test("a tensor larger than one binding may be, with the numbers", () => {
    const sizeBytes = device().traits.maxBindingBytes + 256;
    const large = { buffer: output.buffer, offsetBytes: 0, sizeBytes };
    expect(() => device().record([fillOf(large, 4, 1)])).toThrow(
      /fill needs a tensor of \d+ MiB in one binding, and this device binds at most \d+ MiB/,
    );
  });
  test("and later work is not affected", () => {
    using recording = device().record([fillOf(output, 4, 2.5)]);
    recording.replay();
    const into = new Float32Array(4);
    device().download(output, into);
    expect([...into]).toEqual([2.5, 2.5, 2.5, 2.5]);
  });
});

test("a count past 65,535 workgroups is folded over two dimensions", () => {
  expect(linear(1, 256)).toEqual([1, 1, 1]);
  expect(linear(65535 * 256, 256)).toEqual([65535, 1, 1]);
  const [x, y] = linear(65535 * 256 + 1, 256);
  expect([x * y * 256 >= 65535 * 256 + 1, y]).toEqual([true, 2]);
  const count = 65536 * 256 + 3;
  const buffer = device().allocate(4 * count);
  using recording = device().record([fillOf(whole(buffer), count, 7)]);
  recording.replay();
  const into = new Float32Array(count);
  device().download(whole(buffer), into);
  expect(into.every((v) => v === 7)).toBe(true);
  buffer.free();
});

test("descriptors survive a garbage collector that runs at every chance", () => {
  using opened = openDevice(device().info.name);
  const output = whole(opened.allocate(256));
  for (let i = 0; i < 40; i++) {
    const rubbish = Array.from({ length: 200 }, () => new Uint8Array(1000).fill(i));
    Bun.gc(true);
    const kernel = {
      name: `fill${i}`,
      source: `${source}\n// ${i} ${"x".repeat(500)}`,
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

test("ten thousand uploads and replays cost no memory", () => {
  const { stdout } = Bun.spawnSync([process.execPath, "test/support/replays.ts"]);
  const growth = Number.parseFloat(stdout.toString());
  // bun-webgpu's own wrapper leaks 2 KB a replay, which would be 20 MiB here.
  expect(growth).toBeLessThan(5);
});

test("waiting costs next to no processor time of its own", () => {
  const buffer = device().allocate(4 << 22);
  using recording = device().record(Array.from({ length: 60 }, () => fillOf(whole(buffer), 1 << 22, 1)));
  recording.replay();
  device().wait();
  const start = performance.now();
  recording.replay();
  const before = threadTime();
  device().wait();
  const elapsed = performance.now() - start;
  expect(elapsed).toBeGreaterThan(20);
  expect(threadTime() - before).toBeLessThan(0.2 * elapsed);
  buffer.free();
});

/** Milliseconds of processor time that this thread, and not the driver's, has used. */
function threadTime(): number {
  const stat = readFileSync("/proc/thread-self/schedstat", "utf8");
  return Number(stat.split(" ")[0]) / 1e6;
}

test("a device that is lost says so at the next call", () => {
  const opened = openDevice(device().info.name);
  const { dawn } = opened as unknown as {
    dawn: { dawn: { call(name: string, handle: unknown): void }; handle: unknown };
  };
  dawn.dawn.call("wgpuDeviceDestroy", dawn.handle);
  expect(() => opened.wait()).toThrow(/the device was lost/);
});

test("profiling names the kernels and their times", () => {
  using step = trainingStep(device(), { preset: "micro", rows: 1, length: 8, vocabulary: 64 });
  step.run();
  const table = device().profile(() => step.run());
  if (!device().info.features.includes("timestampQuery")) {
    expect(table).toBeNull();
    return;
  }
  expect(table!.map(({ kernel }) => kernel)).toContain("adamw.forward");
  expect(table!.reduce((sum, { count }) => sum + count, 0)).toBeGreaterThan(step.dispatches);
});
