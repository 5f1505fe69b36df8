/**
 * Lock files: held by the kernel's own advisory lock (flock), which is gone with its process, however that ends. What stands in the
 * file is only for messages. Where a disk knows no such locks, who is written in the file holds it as long as that process may live.
 */
import {
  closeSync,
  fstatSync,
  ftruncateSync,
  linkSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { hostname } from "node:os";
import { z } from "zod";
import { codeOf } from "./errors";
import { fingerprintOf } from "./fingerprint";
import { type Flock, flockOf } from "./flock";

/** Who holds a lock, as far as it has said. */
export interface Holder {
  /** `process 7`, `process 7 on ada`, `another process`. */
  readonly text: string;
  /** Whether it is there is not known for sure: the disk has no locks of the kernel's. */
  readonly assumed?: boolean;
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

/** Without the kernel: the file's existence is the lock. One that was left behind is removed by one process alone, which has a lock on that. */
function recordLock(path: string): Disposable | Holder {
  const own = record();
  for (;;) {
    if (appears(path, own))
      return {
        [Symbol.dispose]() {
          if (readRecord(path) === own) rmSync(path, { force: true });
        },
      };
    const found = readRecord(path);
    if (found === null) continue;
    if (mayLive(parse(found))) return { ...holderOf(path), assumed: true };
    const removing = recordLock(`${path}.${fingerprintOf([found])}`);
    if (isHeld(removing)) return removing;
    // Nobody else removes it, and nobody writes it anew: what is found here once more is gone below, and nothing else.
    using _ = removing;
    if (readRecord(path) === found) rmSync(path, { force: true });
  }
}

/** Whether the file was made now, with its text in it from the first; false where one is there. */
function appears(path: string, text: string): boolean {
  const whole = `${path}.${Bun.randomUUIDv7().slice(-12)}`;
  try {
    writeFileSync(whole, text);
    linkSync(whole, path);
    return true;
  } catch (error) {
    if (codeOf(error) === "EEXIST") return false;
    // Some disks have no links.
    if (!["EPERM", "ENOTSUP", "EOPNOTSUPP", "ENOSYS"].includes(codeOf(error) ?? "")) throw error;
  } finally {
    rmSync(whole, { force: true });
  }
  try {
    writeFileSync(path, text, { flag: "wx" });
    return true;
  } catch (error) {
    if (codeOf(error) === "EEXIST") return false;
    throw error;
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
    boot: boot(),
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
  if (holder.boot !== boot()) return false;
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

function boot(): string {
  return system("/proc/sys/kernel/random/boot_id");
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
