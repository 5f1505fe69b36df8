/** One process a run folder. */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { reasonOf, UserError } from "../errors";
import { type Holder, isHeld, tryLock } from "../lock";
import { LOCK_FILE } from "./run-folder";

/** Makes the folder if need be and locks it. Throws a UserError if another living process has it. */
export function lockFolder(directory: string): Disposable {
  let lock: Disposable | Holder;
  try {
    mkdirSync(directory, { recursive: true });
    lock = tryLock(join(directory, LOCK_FILE));
  } catch (error) {
    throw unwritable(directory, error);
  }
  if (!isHeld(lock)) return lock;
  throw new UserError(`the run folder ${directory} is in use by ${lock.text}`, {
    hint: `wait for it, stop it, or choose another folder with --out${lock.assumed ? `; if it is gone, remove ${join(directory, LOCK_FILE)}` : ""}`,
  });
}

export function unwritable(directory: string, error: unknown): UserError {
  return new UserError(`the run folder ${directory} cannot be written: ${reasonOf(error)}`, {
    hint: "choose another folder with --out",
    cause: error,
  });
}
