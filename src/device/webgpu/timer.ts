/** What a recording is timed by while it is profiled. */
import type { Handle } from "./struct";

export interface Timer {
  /** A pass descriptor that times the next dispatch, named by its kernel. */
  next(kernel: string): Uint8Array;
  readonly full: boolean;
  flush(encoder: Handle): void;
  /** Reads the times back once the flushed work was submitted. */
  collect(): void;
}
