/** Trying again what may pass: a server that is busy, stalls, breaks off or says nonsense. One place for all requests to it. */

/** What may be gone at the next try. */
export class PassingError extends Error {
  /** The server asks to wait for so long; null where it does not say. */
  readonly seconds: number | null;
  /** It has too much to do: no fault of this request's. */
  readonly busy: boolean;

  constructor(
    message: string,
    {
      seconds = null,
      busy = false,
      cause,
    }: { readonly seconds?: number | null; readonly busy?: boolean; readonly cause?: unknown } = {},
  ) {
    super(message, { cause });
    this.name = "PassingError";
    this.seconds = seconds;
    this.busy = busy;
  }
}

export interface Patience {
  /** Tries after the first that bring nothing. */
  readonly retries: number;
  /** Before the first of them; each pause is twice as long as the one before, and up to half of it is cut off by chance. */
  readonly pauseMs: number;
  readonly mostMs: number;
}

export const patience: Omit<Patience, "retries"> = { pauseMs: 500, mostMs: 30_000 };

/** A server that asks for more is not waited for. */
const MOST_SECONDS = 300;

/**
 * A way to run attempts, of which several may run at once: when the server asks to wait, all wait, and when one gives up, none is tried
 * again. What is thrown is what the last attempt threw.
 */
export function patiently({ retries, pauseMs, mostMs }: Patience): <T>(attempt: () => Promise<T>) => Promise<T> {
  const ended = Promise.withResolvers<"ended">();
  let over = false;
  let notBefore = 0;
  let answered = 0;
  const giveUp = (error: unknown) => {
    over = true;
    ended.resolve("ended");
    return error;
  };
  const until = async (moment: number) => {
    for (let left = moment - performance.now(); left > 0 && !over; left = moment - performance.now())
      await Promise.race([Bun.sleep(left), ended.promise]);
  };
  return async (attempt) => {
    let failures = 0;
    let seen = answered;
    for (;;) {
      while (!over && notBefore > performance.now()) await until(notBefore);
      try {
        const value = await attempt();
        answered++;
        return value;
      } catch (error) {
        if (!(error instanceof PassingError)) throw giveUp(error);
        // While others are answered, waiting for one's turn is no failure.
        if (error.busy && answered > seen) failures = 0;
        seen = answered;
        const seconds = error.seconds ?? 0;
        if (over || failures >= retries || seconds > MOST_SECONDS) throw giveUp(error);
        const pause = Math.min(mostMs, pauseMs * 2 ** failures++) * (1 - Math.random() / 2);
        const moment = performance.now() + Math.max(pause, 1000 * seconds);
        if (seconds > 0) notBefore = Math.max(notBefore, moment);
        await until(moment);
        if (over) throw error;
      }
    }
  };
}
