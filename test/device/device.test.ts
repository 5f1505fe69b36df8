/** What every device keeps to: buffers, errors that abort, folded workgroups, memory that does not grow, timings, choosing. */
import { describe, expect, test } from "bun:test";
import { checkDevice } from "../../src/app/self-test";
import { trainingStep } from "../../src/app/training-step";
import { linear, whole } from "../../src/device/device";
import { listAdapters } from "../../src/device/list";
import { openDevice } from "../../src/device/open";
import { adapterName, device, onEachDevice } from "../support/device";
import { fillOf } from "../support/fill";

test("there is an adapter that computes", () => {
  expect(listAdapters().length).toBeGreaterThan(0);
  expect(listAdapters().every(({ backend }) => backend !== "null")).toBe(true);
});

describe("choosing", () => {
  test("by a part of the name finds the adapter", () => {
    using opened = openDevice(device("adapter").info.name.slice(0, 5).toUpperCase());
    expect(opened.info.name).toBe(device("adapter").info.name);
  });
  test("auto takes a GPU, else the CPU device", () => {
    using opened = openDevice("auto");
    const wanted = listAdapters().some(({ kind }) => kind === "hardware") ? "hardware" : "cpu";
    expect(opened.info.kind).toBe(wanted);
  });
  test("threads choose the CPU device, and go with no adapter", () => {
    using opened = openDevice("auto", { threads: 1 });
    expect(opened.info).toMatchObject({ kind: "cpu", driver: expect.stringMatching(/, 1 thread$/) });
    expect(() => openDevice(adapterName(), { threads: 1 })).toThrow("--threads is for the CPU device");
  });
  test("so do vectors", () => {
    using opened = openDevice("auto", { vectors: "wasm" });
    expect(opened.info).toMatchObject({ kind: "cpu", driver: expect.stringMatching(/^WebAssembly SIMD, /) });
    expect(() => openDevice(adapterName(), { vectors: "wasm" })).toThrow("--vectors is for the CPU device");
  });
  test("what is not there says what is", () => {
    expect(() => openDevice("no-such-adapter")).toThrow("no adapter fits --device no-such-adapter");
  });
});

onEachDevice(() => {
  test("it computes a training step as float64 does", () => {
    expect(checkDevice(device())).toBeLessThan(1e-4);
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
      const again = device().allocate(64);
      device().download(whole(again), into);
      expect(into).toEqual(new Float32Array(16));
    });
    test("larger than the device allows are refused with the numbers", () => {
      expect(() => device().allocate(2 ** 50)).toThrow(/a buffer of \d+ MiB is needed, and this device allows \d+ MiB/);
    });
    test("take no more than they hold, and give no more", () => {
      const slice = { ...whole(device().allocate(64)), sizeBytes: 16 };
      expect(() => device().upload(slice, new Float32Array(5))).toThrow("20 bytes do not fit 16");
      expect(() => device().download(slice, new Float32Array(5))).toThrow("20 bytes asked of 16");
    });
  });

  describe("errors abort", () => {
    test("params that are not the kernel's", () => {
      const output = whole(device().allocate(256));
      expect(() => device().record([fillOf(output, 4, 1, { params: { count: 4, worth: 1 } })])).toThrow(
        "params are {count,worth}, the kernel's struct says {count,value}",
      );
    });
    test("bindings that the kernel does not have", () => {
      const output = whole(device().allocate(256));
      expect(() => device().record([fillOf(output, 4, 1, { inputs: [output] })])).toThrow(/binding fill forward: /);
    });
    test("a tensor larger than one binding may be, with the numbers", () => {
      const sizeBytes = device().traits.maxBindingBytes + 256;
      const large = { ...whole(device().allocate(256)), sizeBytes };
      expect(() => device().record([fillOf(large, 4, 1)])).toThrow(
        /fill needs a tensor of \d+ MiB in one binding, and this device binds at most \d+ MiB/,
      );
    });
    test("and later work is not affected", () => {
      const output = whole(device().allocate(256));
      expect(() => device().record([fillOf(output, 4, 1, { params: {} })])).toThrow();
      using recording = device().record([fillOf(output, 4, 2.5)]);
      recording.replay();
      const into = new Float32Array(4);
      device().download(output, into);
      expect([...into]).toEqual([2.5, 2.5, 2.5, 2.5]);
    });
  });

  test("a count past 65,535 workgroups is folded over two dimensions", () => {
    const count = 65536 * 256 + 3;
    const buffer = device().allocate(4 * count);
    using recording = device().record([fillOf(whole(buffer), count, 7)]);
    recording.replay();
    const into = new Float32Array(count);
    device().download(whole(buffer), into);
    expect(into.every((v) => v === 7)).toBe(true);
    buffer.free();
  });

  test("profiling names the kernels and their times", () => {
    using step = trainingStep(device(), { preset: "micro", rows: 1, length: 8, vocabulary: 64 });
    step.run();
    const table = device().profile(() => step.run());
    if (device().info.kind !== "cpu" && !device().info.features.includes("timestampQuery")) {
      expect(table).toBeNull();
      return;
    }
    expect(table!.map(({ kernel }) => kernel)).toContain("adamw.forward");
    expect(table!.reduce((sum, { count }) => sum + count, 0)).toBeGreaterThan(step.dispatches);
    expect(table!.reduce((sum, { microseconds }) => sum + microseconds, 0)).toBeGreaterThan(0);
  });
});

test("workgroups are folded where they pass 65,535", () => {
  expect(linear(1, 256)).toEqual([1, 1, 1]);
  expect(linear(65535 * 256, 256)).toEqual([65535, 1, 1]);
  const [x, y] = linear(65535 * 256 + 1, 256);
  expect([x * y * 256 >= 65535 * 256 + 1, y]).toEqual([true, 2]);
});

test.each(["adapter", "cpu"])("ten thousand uploads and replays on the %s cost no memory", (kind) => {
  const { stdout } = Bun.spawnSync([process.execPath, "test/support/replays.ts", kind]);
  const growth = Number.parseFloat(stdout.toString());
  // bun-webgpu's own wrapper leaks 2 KB a replay, which would be 20 MiB here.
  expect(growth).toBeLessThan(5);
});
