/** Who asks something of an open model, in turn: one piece of work at a time, in the order of asking, and nothing once it is closed. */
import { UserError } from "../errors";
import { tick } from "../tick";

/** To be waited for between two pieces of work: others are heard meanwhile. Throws where the work is to end. */
export type Pause = () => Promise<void>;

export interface Turns extends Disposable {
  /** Throws a UserError once it is closed. */
  expectOpen(): void;
  /** Works when those before have ended. Rejects with the signal's reason once that is aborted, waiting or working. */
  take<T>(work: (pause: Pause) => T | Promise<T>, signal?: AbortSignal): Promise<T>;
}

/** `free`: called once, when it is closed and nobody works any more. */
export function turns(name: string, free: () => void): Turns {
  let open = true;
  let asked = 0;
  let last: Promise<void> = Promise.resolve();
  const expectOpen = () => {
    if (!open) throw new UserError(`the model ${name} is closed`, { hint: "open it again, or dispose of it later" });
  };
  const expectWanted = (signal: AbortSignal | undefined) => {
    signal?.throwIfAborted();
    expectOpen();
  };
  return {
    expectOpen,
    async take(work, signal) {
      expectWanted(signal);
      const before = last;
      const over = Promise.withResolvers<void>();
      last = before.then(() => over.promise);
      asked++;
      try {
        await orAborted(before, signal);
        expectWanted(signal);
        return await work(async () => {
          await tick();
          expectWanted(signal);
        });
      } finally {
        over.resolve();
        if (--asked === 0 && !open) free();
      }
    },
    [Symbol.dispose]() {
      if (!open) return;
      open = false;
      if (asked === 0) free();
    },
  };
}

/** Waits for something, or no longer than until the signal. */
async function orAborted(waited: Promise<void>, signal: AbortSignal | undefined): Promise<void> {
  if (!signal) return waited;
  const aborted = Promise.withResolvers<void>();
  const leave = () => aborted.resolve();
  signal.addEventListener("abort", leave);
  await Promise.race([waited, aborted.promise]);
  signal.removeEventListener("abort", leave);
}
