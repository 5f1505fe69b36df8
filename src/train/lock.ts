/** One process a run folder: a lock file with the process id, taken over when that process is gone. */
import { closeSync, mkdirSync, openSync, readFileSync, rmSync, writeSync } from "node:fs";
import { join } from "node:path";
import { codeOf, messageOf, UserError } from "../errors";

/** Makes the folder if need be and locks it. Throws a UserError if another living process has it. */
export function lockFolder(directory: string): Disposable {
  const path = join(directory, "lock");
  try {
    mkdirSync(directory, { recursive: true });
  } catch (error) {
    throw unwritable(directory, error);
  }
  for (let attempt = 0; ; attempt++) {
    try {
      const fd = openSync(path, "wx");
      writeSync(fd, String(process.pid));
      closeSync(fd);
      return { [Symbol.dispose]: () => rmSync(path, { force: true }) };
    } catch (error) {
      if (codeOf(error) !== "EEXIST") throw unwritable(directory, error);
      const owner = ownerOf(path);
      if (owner !== null && (alive(owner) || attempt > 3)) {
        throw new UserError(`the run folder ${directory} is in use by process ${owner}`, {
          hint: "wait for it, stop it, or choose another folder with --out",
        });
      }
      rmSync(path, { force: true });
    }
  }
}

function ownerOf(path: string): number | null {
  try {
    return Number(readFileSync(path, "utf8")) || null;
  } catch {
    return null;
  }
}

function alive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return codeOf(error) === "EPERM";
  }
}

export function unwritable(directory: string, error: unknown): UserError {
  return new UserError(`the run folder ${directory} cannot be written: ${messageOf(error)}`, {
    hint: "choose another folder with --out",
    cause: error,
  });
}
