/** Standard output, for what a command was asked for: written at once, so that a reader who has gone is noticed at once. */
import { writeSync } from "node:fs";
import { codeOf, reasonOf, UserError } from "../errors";

/** Nobody reads any more, as behind `| head`: a reason to stop, and none to complain. */
export class ClosedPipe extends Error {}

const STDOUT = 1;

export function print(text: string): void {
  const bytes = Buffer.from(text);
  for (let at = 0; at < bytes.length; ) {
    try {
      at += writeSync(STDOUT, bytes, at);
    } catch (error) {
      if (codeOf(error) === "EPIPE") throw new ClosedPipe();
      if (codeOf(error) !== "EAGAIN")
        throw new UserError(`standard output cannot be written: ${reasonOf(error)}`, { cause: error });
      // A pipe that does not wait is full.
      Bun.sleepSync(1);
    }
  }
}
