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
    return pid;
  } catch (error) {
    return codeOf(error) === "EPERM" ? Number(readFileSync(path, "utf8")) : null;
  }
}
