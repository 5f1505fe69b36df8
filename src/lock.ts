/**
 * Lock files: held by the kernel's own advisory lock (flock), which is gone with its process, however that ends. What stands in the
 * file is only for messages. Where a disk knows no such locks, who is written in the file holds it as long as that process may live.
 */
import {
  closeSync,
  fstatSync,
  ftruncateSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { hostname } from "node:os";
import { z } from "zod";
import { codeOf } from "./errors";
import { type Flock, flockOf } from "./flock";

/** Who holds a lock, as far as it has said. */
export interface Holder {
  /** `process 7`, `process 7 on ada`, `another process`. */
  readonly text: string;
}

/** The lock, or who has it. `flock`: how the kernel is asked; null where it cannot be. */
export function tryLock(path: string, flock: Flock | null = flockOf()): Disposable | Holder {
  return (flock && kernelLock(path, flock)) ?? recordLock(path);
}

export function isHeld(lock: Disposable | Holder): lock is Holder {
  return "text" in lock;
}

/** Null where the disk has no such locks. */
function kernelLock(path: string, flock: Flock): Disposable | Holder | null {
  for (;;) {
    const fd = openSync(path, "a+");
    if (!flock.take(fd)) {
      closeSync(fd);
      return flock.works(path) ? holderOf(path) : null;
    }
    // Whoever had it has removed the file in the meantime: what we have locked is no longer the lock.
    if (fstatSync(fd).ino !== inodeOf(path)) {
      closeSync(fd);
      continue;
    }
    ftruncateSync(fd);
    writeSync(fd, record());
    return {
      [Symbol.dispose]() {
        // Removed while it is still ours, so that nobody else's is.
        if (fstatSync(fd).ino === inodeOf(path)) rmSync(path, { force: true });
        closeSync(fd);
      },
    };
  }
}

function inodeOf(path: string): number | null {
  return statSync(path, { throwIfNoEntry: false })?.ino ?? null;
}

/** Without the kernel: the file's existence is the lock. One that was left behind is moved away by one process alone. */
function recordLock(path: string): Disposable | Holder {
  const own = record();
  for (;;) {
    try {
      writeFileSync(path, own, { flag: "wx" });
      return {
        [Symbol.dispose]() {
          if (readRecord(path) === own) rmSync(path, { force: true });
        },
      };
    } catch (error) {
      if (codeOf(error) !== "EEXIST") throw error;
    }
    const found = readRecord(path);
    if (found === null) continue;
    if (mayLive(parse(found))) return holderOf(path);
    const moved = `${path}.${Bun.randomUUIDv7().slice(-12)}`;
    try {
      renameSync(path, moved);
    } catch (error) {
      if (codeOf(error) !== "ENOENT") throw error;
      continue;
    }
    const theirs = readRecord(moved);
    // Another starter was quicker, and it is its lock that was moved.
    if (theirs !== found && theirs !== null) writeFileSync(path, theirs, { flag: "wx" });
    rmSync(moved, { force: true });
  }
}

const recordSchema = z.object({
  host: z.string(),
  /** Of the machine's last start; containers of one machine share it. */
  boot: z.string(),
  /** Where process numbers are the same processes. */
  space: z.string(),
  pid: z.int().min(0),
  /** When the process began, in the system's own count: a number that was given again is another process. */
  began: z.string(),
});
type Record = z.infer<typeof recordSchema>;

const record = () =>
  JSON.stringify({
    host: hostname(),
    boot: system("/proc/sys/kernel/random/boot_id"),
    space: space(),
    pid: process.pid,
    began: beganAt(process.pid),
  } satisfies Record);

function readRecord(path: string): string | null {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    if (codeOf(error) === "ENOENT") return null;
    throw error;
  }
}

/** Null for what no lock of ours says. */
function parse(text: string): Record | null {
  try {
    return recordSchema.parse(JSON.parse(text));
  } catch {
    return null;
  }
}

/** Whether who has written a lock may still be there: another machine's processes, or another container's, cannot be seen. */
function mayLive(holder: Record | null): boolean {
  if (holder === null) return false;
  if (holder.host !== hostname() || holder.space !== space()) return true;
  if (holder.boot !== system("/proc/sys/kernel/random/boot_id")) return false;
  return isThere(holder.pid) && holder.began === beganAt(holder.pid);
}

function isThere(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return codeOf(error) === "EPERM";
  }
}

function holderOf(path: string): Holder {
  const holder = parse(readRecord(path) ?? "");
  if (holder === null) return { text: "another process" };
  return { text: `process ${holder.pid}${holder.host === hostname() ? "" : ` on ${holder.host}`}` };
}

function system(path: string): string {
  try {
    return readFileSync(path, "utf8").trim();
  } catch {
    return "";
  }
}

function space(): string {
  return String(statSync("/proc/self/ns/pid", { throwIfNoEntry: false })?.ino ?? "");
}

/** The 22nd field of its stat, in ticks since the machine began; empty for a process that is dead or cannot be seen. */
function beganAt(pid: number): string {
  const stat = system(`/proc/${pid}/stat`);
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return /[ZX]/.test(fields[0]!) ? "" : (fields[19] ?? "");
}
