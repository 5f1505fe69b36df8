/** The threads of the CPU device: the caller's own, which works too, and helpers that sleep while there is nothing to do. */
import { ptr } from "bun:ffi";
import { UserError } from "../../errors";
import { Heap, MOST_BYTES } from "./heap";
import { type Control, compileKernels, instantiate, kernelNames } from "./kernels";
import { entryOver } from "./native/entry";
import type { Vectors } from "./vectors";
import type { HelperStart } from "./worker";

/** Where the control block of kernels/cpu/job.ts lies. */
export const CONTROL = 1024;
/** Threads' own memory begins here. */
const SCRATCH = 65536;

/** In the executable all modules are one file at the root, beside which the worker lies under its path from src/. */
const workerUrl = new URL(
  import.meta.url.includes("$bunfs") ? "./device/cpu/worker.js" : "./worker.ts",
  import.meta.url,
).href;

export class Pool implements Disposable {
  readonly threads: number;
  readonly heap: Heap;
  private readonly kernels: Control;
  private readonly numbers: ReadonlyMap<string, number>;
  private readonly helpers: Worker[];
  private trouble: string | null = null;

  constructor(threads: number, vectors: Vectors) {
    this.threads = threads;
    const module = compileKernels();
    const memory = newMemory();
    const code = vectors === "native" ? machineCodeOver(memory) : null;
    this.kernels = instantiate(module, memory, code);
    this.numbers = new Map(kernelNames(module).map((name, i) => [name, i + 1]));
    const own = this.kernels.scratchBytes();
    this.heap = new Heap(memory, SCRATCH + threads * own);
    this.kernels.begin(CONTROL, SCRATCH, threads, Number(code !== null));
    this.helpers = Array.from({ length: threads - 1 }, (_, i) =>
      this.helper({ module, memory, threads, code, control: CONTROL, scratch: SCRATCH + (i + 1) * own }),
    );
  }

  private helper(start: HelperStart): Worker {
    const worker = new Worker(workerUrl);
    worker.onmessage = ({ data }: MessageEvent<string>) => {
      this.trouble ??= data;
    };
    worker.onerror = ({ message }) => {
      this.trouble ??= message;
      this.kernels.fail();
    };
    worker.unref();
    worker.postMessage(start);
    return worker;
  }

  /** The number of a kernel, by the name that kernels/cpu/index.ts exports; undefined if there is none. */
  kernel(name: string): number | undefined {
    return this.numbers.get(name);
  }

  /** Runs jobs in order, each on all threads. */
  replay(first: number, end: number, timed: boolean): void {
    if (this.kernels.replay(first, end, Number(timed)) === 0) return;
    throw new UserError(`a thread of the CPU device has died${this.trouble ? `: ${this.trouble}` : ""}`, {
      hint: "resume from the last checkpoint; --threads 1 computes without helper threads, --device software on another device",
    });
  }

  [Symbol.dispose](): void {
    this.kernels.stop();
    for (const helper of this.helpers) helper.terminate();
  }
}

/** All the addresses that it may grow to are reserved at once. */
function newMemory(): WebAssembly.Memory {
  try {
    return new WebAssembly.Memory({ initial: 1, maximum: MOST_BYTES / 65536, shared: true });
  } catch {
    throw new UserError("the system refused the CPU device 4 GiB of addresses", {
      hint: "raise the limit of this process's address space (ulimit -v)",
    });
  }
}

/** Where the machine code over a memory is entered. The memory never moves: it is shared. */
function machineCodeOver(memory: WebAssembly.Memory): number {
  const entry = entryOver(ptr(new Uint8Array(memory.buffer)));
  if (entry === null) {
    throw new UserError("the system gave no executable memory this time", {
      hint: "--vectors wasm computes without it",
    });
  }
  return entry;
}
