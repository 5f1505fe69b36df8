/** What only the CPU device has: its memory, its threads, and what the JavaScript engine must have for it. */
import { describe, expect, test } from "bun:test";
import layerNormSource from "../../kernels/layer-norm.wgsl" with { type: "text" };
import { trainingStep } from "../../src/app/training-step";
import { Program } from "../../src/autograd/program";
import { openCpu } from "../../src/device/cpu/cpu";
import { Heap } from "../../src/device/cpu/heap";
import { compileKernels } from "../../src/device/cpu/kernels";
import { CONTROL, type Pool } from "../../src/device/cpu/pool";
import type { VectorChoice } from "../../src/device/cpu/vectors";
import type { HelperStart } from "../../src/device/cpu/worker";
import { type Dispatch, linear, whole } from "../../src/device/device";
import { attention, crossEntropy, gelu, layerNorm, matmul, sum, tokenStatistics } from "../../src/ops";
import { geluBackward } from "../../src/ops/gelu";
import { input, type Launch, type Tensor } from "../../src/tensor/tensor";
import { cpuKinds } from "../support/device";
import { fillOf, fillSource } from "../support/fill";
import { sample } from "../support/oracle";

/** The vectors that there are on this machine. */
const vectors = cpuKinds.map((kind): VectorChoice => (kind === "wasm" ? "wasm" : "auto"));

describe("memory", () => {
  const heapOf = (free: () => number = () => 2 ** 40) =>
    new Heap(new WebAssembly.Memory({ initial: 1, maximum: 65535, shared: true }), 65536, free);

  test("blocks do not overlap, and begin at cache lines", () => {
    const heap = heapOf();
    const sizes = [1, 64, 65, 100_000, 16];
    const blocks = sizes.map((size) => ({ at: heap.allocate(size), size }));
    blocks.forEach(({ at }, i) => {
      expect(at % 64).toBe(0);
      const before = blocks[i - 1];
      expect(at).toBeGreaterThanOrEqual(before ? before.at + before.size : 65536);
    });
  });
  test("freed neighbours are joined and dealt out again, as zeros", () => {
    const heap = heapOf();
    const [a, b, c] = [1000, 1000, 1000].map((size) => heap.allocate(size)) as [number, number, number];
    heap.allocate(1000);
    heap.bytes.fill(7, a, c + 1000);
    heap.free(a);
    heap.free(c);
    heap.free(b);
    const again = heap.allocate(3000);
    expect(again).toBe(a);
    expect(heap.bytes.subarray(again, again + 3000).every((v) => v === 0)).toBe(true);
  });
  test("freeing what is not there is an error", () => {
    const heap = heapOf();
    const at = heap.allocate(8);
    heap.free(at);
    expect(() => heap.free(at)).toThrow(`there is no block at ${at}`);
  });
  test("it grows up to what the machine has, and says what it lacks", () => {
    const heap = heapOf(() => 100 << 20);
    heap.allocate(50 << 20);
    expect(() => heap.allocate(200 << 20)).toThrow(
      /^out of memory: \d+ MiB more are needed, and this machine has 100 MiB free$/,
    );
    heap.allocate(1 << 20);
  });
  test("it ends at 4 GiB, and says so", () => {
    const heap = heapOf();
    const first = heap.allocate(2.2 * 2 ** 30);
    expect(() => heap.allocate(2.2 * 2 ** 30)).toThrow(
      /^out of memory: \d+ MiB more are needed beside \d+ MiB, and a WebAssembly memory ends at 4096 MiB$/,
    );
    heap.bytes[first + 2.2 * 2 ** 30 - 1] = 1;
    heap.allocate(1 << 20);
  });
  test("a system that refuses its addresses is named", () => {
    const { Memory } = WebAssembly;
    try {
      WebAssembly.Memory = function refuse() {
        throw new RangeError("Out of memory");
      } as unknown as typeof Memory;
      expect(() => openCpu(1)).toThrow("the system refused the CPU device 4 GiB of addresses");
    } finally {
      WebAssembly.Memory = Memory;
    }
  });
});

describe("threads", () => {
  test.each(vectors)("any number of them gives the same weights, bit for bit (%s)", (choice) => {
    const [one, all] = [1, undefined].map((threads) => {
      using device = openCpu(threads, choice);
      using step = trainingStep(device, { preset: "micro", rows: 3, length: 50, vocabulary: 321 });
      for (let i = 0; i < 5; i++) step.run();
      return step.weights();
    });
    expect(one).toEqual(all!);
  });
  test("more than the machine has are refused", () => {
    expect(() => openCpu(9999)).toThrow(/^--threads 9999: this machine runs \d+ at a time$/);
    expect(() => openCpu(0)).toThrow("--threads 0");
    expect(() => openCpu(1.5)).toThrow("--threads 1.5");
  });
  test("sleep while there is nothing to do", () => {
    const { stdout } = Bun.spawnSync([process.execPath, "test/support/idle.ts"]);
    expect(Number.parseFloat(stdout.toString())).toBeLessThan(30);
  });
  test("a helper that dies at work is told of in a sentence", async () => {
    using device = openCpu(1);
    const x = input("x", [512, 512]);
    using program = new Program(device, [matmul(x, x)]);
    program.feed(x, new Float32Array(512 * 512));
    using helper = trappingHelper(device.pool);
    const compute = async () => {
      // Until the helper has started, the caller works alone.
      for (;;) {
        program.run();
        await Bun.sleep(1);
      }
    };
    await expect(compute()).rejects.toThrow(/^a thread of the CPU device has died$/);
    expect(await helper.lastWords).toMatch(/out of bounds/i);
  });
  test("a kernel that traps is an error, and not a hang", () => {
    using device = openCpu();
    const x = input("x", [8, 8]);
    const product = matmul(x, x, { gelu: true });
    const wrong: Tensor = {
      ...product,
      dispatch: (traits) => trapping([product.dispatch!(traits)].flat()[0] as Launch),
    };
    using program = new Program(device, [wrong]);
    program.feed(x, new Float32Array(64));
    expect(() => program.run()).toThrow();
    expect(() => program.run()).toThrow();
  });
});

/** A product with GELU that is to be added to what is there, which the kernel refuses. */
function trapping(launch: Launch): Launch {
  return { ...launch, kernel: { ...launch.kernel, constants: { ...launch.kernel.constants, ACCUMULATE: true } } };
}

/** One more helper for the pool, whose own memory lies past the end of what there is: it traps as soon as it writes there. */
function trappingHelper({ heap: { memory } }: Pool): { readonly lastWords: Promise<string> } & Disposable {
  const worker = new Worker(new URL("../../src/device/cpu/worker.ts", import.meta.url).href);
  const lastWords = new Promise<string>((resolve) => {
    worker.onmessage = ({ data }: MessageEvent<string>) => resolve(data);
  });
  const start: HelperStart = {
    module: compileKernels(),
    memory,
    control: CONTROL,
    scratch: 2 ** 32 - 2 ** 22,
    code: null,
    threads: 2,
  };
  worker.postMessage(start);
  return { lastWords, [Symbol.dispose]: () => worker.terminate() };
}

test("a constant that the CPU device does not know is an error", () => {
  using device = openCpu(1);
  const kernel = { name: "fill", source: fillSource, entry: "forward", constants: { SPARSE: true } };
  const output = whole(device.allocate(256));
  expect(() => device.record([fillOf(output, 1, 1, { kernel })])).toThrow(
    "the CPU device does not know the constant SPARSE",
  );
});

describe("NaN in, NaN out", () => {
  const ids = input("ids", [4], "u32");
  const cases: [string, (x: Tensor, row: Tensor) => Tensor][] = [
    ["gelu", (x) => gelu(x)],
    ["matmul", (x) => matmul(x, x, { transposeB: true })],
    ["layerNorm", (x, row) => layerNorm(x, row, row)],
    ["gelu backward", (x) => geluBackward(x, x)],
    ["crossEntropy", (x) => crossEntropy(x, ids)],
    ["token statistics", (x) => tokenStatistics(x, ids)],
    ["attention", (x) => attention(x, { tokens: 4, heads: 1 })],
    ["sum", (x) => sum(x)],
  ];
  test.each(vectors.flatMap((choice) => cases.map(([name, op]) => [choice, name, op] as const)))(
    "%s: %s",
    (choice, _name, op) => {
      using device = openCpu(1, choice);
      const [x, row] = [input("x", [4, 12]), input("row", [12])];
      for (const at of [0, 3, 11]) {
        const y = op(x, row);
        using program = new Program(device, [y]);
        const values = Float32Array.from(sample(48, 1));
        values[at] = Number.NaN;
        const fed = program.plan.places;
        program.feed(x, values);
        if (fed.has(row)) program.feed(row, new Float32Array(12).fill(1));
        if (fed.has(ids)) program.feed(ids, new Uint32Array(4));
        program.run();
        expect(program.read(y).some(Number.isNaN)).toBe(true);
      }
    },
  );
});

describe.each(vectors)("a layer norm in two passes (%s)", (choice) => {
  test.each([1, 7, 8, 9, 31, 70])("has the bits of one pass, and agrees with float64: %i columns", (columns) => {
    using device = openCpu(1, choice);
    const [rows, epsilon] = [3, 1e-5];
    const [values, scale, shift] = [rows * columns, columns, columns].map((size, i) => sample(size, i + 1)) as [
      Float64Array,
      Float64Array,
      Float64Array,
    ];
    const held = (size: number, fed?: ArrayLike<number>) => {
      const slice = whole(device.allocate(4 * size));
      if (fed) device.upload(slice, Float32Array.from(fed));
      return slice;
    };
    const [x, factor, added] = [held(values.length, values), held(columns, scale), held(columns, shift)];
    const run = (recordings: (dispatches: [Dispatch, Dispatch]) => Dispatch[][]) => {
      const [statistics, y] = [held(2 * rows), held(rows * columns)];
      const norm = { params: { rows, columns, chunk: 0, epsilon }, workgroups: linear(rows, 1) };
      const kernel = (entry: string) => ({ name: "layer-norm", source: layerNormSource, entry });
      const both: [Dispatch, Dispatch] = [
        { ...norm, kernel: kernel("statistics"), output: statistics, inputs: [x] },
        { ...norm, kernel: kernel("forward"), output: y, inputs: [x, statistics, factor, added] },
      ];
      for (const dispatches of recordings(both)) {
        using recording = device.record(dispatches);
        recording.replay();
      }
      const got = new Float32Array(rows * columns);
      device.download(y, got);
      return got;
    };
    const one = run((both) => [both]);
    expect(run(([statistics, norm]) => [[statistics], [norm]])).toEqual(one);
    for (let row = 0; row < rows; row++) {
      const own = values.subarray(row * columns, (row + 1) * columns);
      const mean = own.reduce((a, b) => a + b, 0) / columns;
      const rstd = 1 / Math.sqrt(own.reduce((a, b) => a + (b - mean) ** 2, 0) / columns + epsilon);
      own.forEach((value, i) => {
        const wanted = (value - mean) * rstd * scale[i]! + shift[i]!;
        expect(Math.abs(one[row * columns + i]! - wanted), `row ${row}, column ${i}`).toBeLessThan(2e-6);
      });
    }
  });
});

describe("an engine", () => {
  const doctor = (off: string, ...words: readonly string[]) =>
    Bun.spawnSync([process.execPath, "src/main.ts", "doctor", "--device", "cpu", ...words], {
      env: { ...process.env, [off]: "0" },
    }).stdout.toString();
  test.each([
    ["SIMD", "BUN_JSC_useWasmSIMD", "WebAssembly SIMD"],
    ["shared memory", "BUN_JSC_useSharedArrayBuffer", "shared memory"],
  ])("without %s is named, with what to use instead", (_name, option, what) => {
    const text = doctor(option);
    expect(text).toContain(`FAIL --device cpu: the CPU device needs ${what} in the JavaScript engine`);
    expect(text).toContain("hint: --device gpu or --device software runs on a WebGPU adapter instead");
  });
  test("without relaxed multiply-add computes the same with plain ones", () => {
    const text = doctor("BUN_JSC_useWasmRelaxedSIMD", "--vectors", "wasm");
    expect(text).toMatch(/ok {3}--device cpu: .* computes by WebAssembly SIMD: a training step agrees with float64/);
  });
});
