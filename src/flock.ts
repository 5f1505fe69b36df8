/** The kernel's advisory locks on files (flock(2)), which Bun and Node do not offer. */
import { dlopen } from "bun:ffi";
import { closeSync, openSync, rmSync } from "node:fs";

export interface Flock {
  /** Whether the open file is locked by it now. Never waits. */
  take(fd: number): boolean;
  /** Whether the disk that `path` is on has such locks at all. */
  works(path: string): boolean;
}

const LOCK_EX = 2;
const LOCK_NB = 4;

const libraries: Readonly<Partial<Record<NodeJS.Platform, readonly string[]>>> = {
  linux: ["libc.so.6", `libc.musl-${process.arch === "arm64" ? "aarch64" : "x86_64"}.so.1`],
  darwin: ["libSystem.B.dylib"],
};

/** Null where the system has no such call, as Windows. */
export function flockOf(): Flock | null {
  for (const library of libraries[process.platform] ?? []) {
    try {
      const { symbols } = dlopen(library, { flock: { args: ["i32", "i32"], returns: "i32" } });
      const take = (fd: number) => symbols.flock(fd, LOCK_EX | LOCK_NB) === 0;
      return { take, works: (path) => onFresh(path, take) };
    } catch {
      // The next one.
    }
  }
  return null;
}

/** Tries it on a file beside `path` that nobody else has. */
function onFresh(path: string, take: (fd: number) => boolean): boolean {
  const beside = `${path}.${Bun.randomUUIDv7().slice(-12)}`;
  const fd = openSync(beside, "wx");
  try {
    return take(fd);
  } finally {
    closeSync(fd);
    rmSync(beside, { force: true });
  }
}
