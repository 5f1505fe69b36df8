/** Machine code as functions: written into memory first and made executable then, never both at once. */
import { CFunction, dlopen, type Pointer, toArrayBuffer } from "bun:ffi";

const PROT_READ = 1;
const PROT_WRITE = 2;
const PROT_EXEC = 4;
const MAP_PRIVATE = 2;
const MAP_ANONYMOUS: Readonly<Partial<Record<NodeJS.Platform, number>>> = { linux: 0x20, darwin: 0x1000 };

const libraries: Readonly<Partial<Record<NodeJS.Platform, readonly string[]>>> = {
  linux: ["libc.so.6", "libc.musl-x86_64.so.1"],
  darwin: ["libSystem.B.dylib"],
};

const calls = {
  // An address, or -1.
  mmap: { args: ["ptr", "u64", "i32", "i32", "i32", "i64"], returns: "i64" },
  mprotect: { args: ["ptr", "u64", "i32"], returns: "i32" },
} as const;

let system: ReturnType<typeof dlopen<typeof calls>>["symbols"] | null | undefined;

/** The system's own library; null where there is none of these. */
function openSystem() {
  if (system !== undefined) return system;
  system = null;
  for (const library of libraries[process.platform] ?? []) {
    try {
      system = dlopen(library, calls).symbols;
      break;
    } catch {
      // The next one.
    }
  }
  return system;
}

/**
 * Where the code lies from now on; null where the system will not have it. It lies there until the process ends: a thread may be in it when its
 * device is closed, and it is some pages a device.
 */
export function placed(code: Uint8Array): number | null {
  const symbols = openSystem();
  if (!symbols) return null;
  const flags = MAP_PRIVATE | MAP_ANONYMOUS[process.platform]!;
  const at = Number(symbols.mmap(null, code.length, PROT_READ | PROT_WRITE, flags, -1, 0)) as Pointer;
  if (at === -1) return null;
  new Uint8Array(toArrayBuffer(at, 0, code.length)).set(code);
  return symbols.mprotect(at, code.length, PROT_READ | PROT_EXEC) === 0 ? at : null;
}

/** A function of one 32-bit number at an address. Each thread makes its own. */
export function functionAt(address: number): (argument: number) => void {
  const made = CFunction({ ptr: address as Pointer, args: ["u32"], returns: "void" });
  return made as unknown as (argument: number) => void;
}
