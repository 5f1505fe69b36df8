/** One process at a time at a file: two that fetch the same would write into one another. */
import { mkdirSync } from "node:fs";
import { dirname } from "node:path";
import { flockOf } from "../flock";
import { isHeld, tryLock } from "../lock";

const PAUSE_MS = 200;

/** Runs `work` while `path` is ours. Waits for a process that has it, and says so once. */
export async function locked<T>(path: string, work: () => Promise<T>, say = console.error): Promise<T> {
  mkdirSync(dirname(path), { recursive: true });
  const flock = flockOf();
  let lock = tryLock(path, flock);
  if (isHeld(lock)) say(`waiting for ${lock.text}, which is fetching the same (${path})`);
  for (; isHeld(lock); lock = tryLock(path, flock)) await Bun.sleep(PAUSE_MS);
  try {
    return await work();
  } finally {
    lock[Symbol.dispose]();
  }
}
