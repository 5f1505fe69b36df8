/** Lock files: a file with the id of the process that holds it, taken over when that process is gone. */
import { readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { codeOf } from "./errors";

/** A process that has made its lock file has written its id into it by then. */
const GRACE_MS = 5000;

/** The lock, or the id of the living process that has it (0 for one that has only just made it). */
export function tryLock(path: string): Disposable | number {
  for (;;) {
    try {
      writeFileSync(path, String(process.pid), { flag: "wx" });
      return { [Symbol.dispose]: () => rmSync(path, { force: true }) };
    } catch (error) {
      if (codeOf(error) !== "EEXIST") throw error;
    }
    const owner = livingOwner(path);
    if (owner !== null) return owner;
    rmSync(path, { force: true });
  }
}

function livingOwner(path: string): number | null {
  try {
    const pid = Number(readFileSync(path, "utf8"));
    if (!(pid > 0)) return Date.now() - statSync(path).mtimeMs < GRACE_MS ? 0 : null;
    process.kill(pid, 0);
    return hasEnded(pid) ? null : pid;
  } catch (error) {
    return codeOf(error) === "EPERM" ? Number(readFileSync(path, "utf8")) : null;
  }
}

/** Whether a process is dead, and only its parent has not asked for how it ended: on Linux, where containers often leave it so. */
function hasEnded(pid: number): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    return /^ [ZX]/.test(stat.slice(stat.lastIndexOf(")") + 1));
  } catch {
    return false;
  }
}
