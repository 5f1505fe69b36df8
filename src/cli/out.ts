/** What a command writes under a name that its user gives. */
import { lstatSync, readlinkSync, writeFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { reasonOf, UserError } from "../errors";
import { writeAside } from "../files";

/**
 * A text under a name that a user gives: whole or not at all, in place of what is there. A symbolic link stays one, and what it names is
 * written; what is no file, such as a pipe, is written to. Throws a UserError where that cannot be done.
 */
export async function writeOut(path: string, text: string): Promise<void> {
  const place = lstatSync(path, { throwIfNoEntry: false });
  if (place?.isSymbolicLink()) return writeOut(resolve(dirname(path), readlinkSync(path)), text);
  if (!place || place.isFile()) return writeAside(path, (aside) => Bun.write(aside, text).then(() => {}));
  try {
    writeFileSync(path, text);
  } catch (error) {
    throw new UserError(`${path} cannot be written: ${reasonOf(error)}`, {
      hint: "give another place with --out",
      cause: error,
    });
  }
}

/** Throws where something is there already, as `writeNew` would after the work. */
export function expectNew(path: string): void {
  if (!lstatSync(path, { throwIfNoEntry: false })) return;
  throw new UserError(`${path} is there already`, { hint: "give another name with --out", exitCode: 2 });
}
