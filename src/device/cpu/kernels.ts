/** The kernels of kernels/cpu as one WebAssembly module: chosen by what the engine has, compiled once, instantiated in each thread. */
import { readFileSync } from "node:fs";
import relaxed from "../../../dist/kernels.wasm" with { type: "file" };
import plain from "../../../dist/kernels-plain.wasm" with { type: "file" };
import { UserError } from "../../errors";
import { functionAt } from "./native/executable";

/** What kernels/cpu/index.ts exports for the device itself; every other export is a kernel. */
export interface Control {
  /** Tells the calling thread where the control block and its own memory are, how many threads there are, and whether machine code. */
  begin(control: number, scratch: number, threads: number, native: number): void;
  scratchBytes(): number;
  /** Runs the jobs from `first` to `end` with all threads. 1 where a helper has died. */
  replay(first: number, end: number, timed: number): number;
  serve(): void;
  fail(): void;
  stop(): void;
}

/** A function of no effect that only validates where the engine has a feature. */
const probe = (body: readonly number[]) => {
  const code = [0, ...body, 0x1a, 0x0b];
  return WebAssembly.validate(
    new Uint8Array([
      0,
      97,
      115,
      109,
      1,
      0,
      0,
      0,
      1,
      4,
      1,
      0x60,
      0,
      0,
      3,
      2,
      1,
      0,
      10,
      code.length + 2,
      1,
      code.length,
      ...code,
    ]),
  );
};
/** v128.const 0. */
const zeros = [0xfd, 0x0c, ...new Array<number>(16).fill(0)];
const hasSimd = () => probe(zeros);
const hasRelaxedSimd = () => probe([...zeros, ...zeros, ...zeros, 0xfd, 0x85, 0x02]);

/** Throws a UserError where the engine cannot run them. */
export function compileKernels(): WebAssembly.Module {
  const without = (what: string) =>
    new UserError(`the CPU device needs ${what} in the JavaScript engine, and this one has none`, {
      hint: "--device gpu or --device software runs on a WebGPU adapter instead",
    });
  if (!hasSimd()) throw without("WebAssembly SIMD");
  if (typeof SharedArrayBuffer === "undefined") throw without("shared memory");
  return new WebAssembly.Module(readFileSync(hasRelaxedSimd() ? relaxed : plain));
}

/** Names of the kernels, in the order of their numbers: KERNEL_ENTRY, with underscores for hyphens. */
export function kernelNames(module: WebAssembly.Module): string[] {
  const control: Record<keyof Control, true> = {
    begin: true,
    scratchBytes: true,
    replay: true,
    serve: true,
    fail: true,
    stop: true,
  };
  return WebAssembly.Module.exports(module)
    .filter(({ kind, name }) => kind === "function" && !(name in control))
    .map(({ name }) => name);
}

/** The name under which the twin of a WGSL entry is exported. */
export function kernelName(kernel: string, entry: string): string {
  return `${kernel}_${entry}`.replaceAll("-", "_");
}

/**
 * The kernels for the calling thread, over the memory that all threads share. Kernel n is called through slot n + 1. `code`: where the entry
 * of the machine code lies; null where there is none.
 */
export function instantiate(module: WebAssembly.Module, memory: WebAssembly.Memory, code: number | null): Control {
  const names = kernelNames(module);
  const table = new WebAssembly.Table({ element: "anyfunc", initial: names.length + 1 });
  const now = () => performance.now();
  const native = code === null ? () => {} : functionAt(code);
  const { exports } = new WebAssembly.Instance(module, { env: { memory, table, now, native } });
  names.forEach((name, i) => {
    table.set(i + 1, exports[name]);
  });
  return exports as unknown as Control;
}
