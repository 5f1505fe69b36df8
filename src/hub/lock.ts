/** One process at a time at a file: two that fetch the same would write into one another. */
import { mkdirSync } from "node:fs";
import { dirname } from "node:path";
import { tryLock } from "../lock";

const PAUSE_MS = 200;

/** Runs `work` while `path` is ours. Waits for a process that has it. */
export async function locked<T>(path: string, work: () => Promise<T>): Promise<T> {
  mkdirSync(dirname(path), { recursive: true });
  let lock = tryLock(path);
  for (; typeof lock === "number"; lock = tryLock(path)) await Bun.sleep(PAUSE_MS);
  try {
    return await work();
  } finally {
    lock[Symbol.dispose]();
  }
}
