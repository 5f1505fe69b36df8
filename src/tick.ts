/** Room between pieces of work in which signals, timers and other work are heard. */

export function tick(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** A `tick` that costs nothing where the last one was not long ago: for loops of short pieces. */
export function ticker(everyMs = 100): () => Promise<void> | undefined {
  let last = performance.now();
  return () => {
    if (performance.now() - last < everyMs) return undefined;
    return tick().then(() => {
      last = performance.now();
    });
  };
}

/** Work that is done piece by piece: who does it may do something else between. */
export type Pieces<T> = Generator<void, T, void>;

/** All of it at once. */
export function wholly<T>(work: Pieces<T>): T {
  for (;;) {
    const { done, value } = work.next();
    if (done) return value;
  }
}

/** All of it, with room between the pieces. */
export async function patiently<T>(work: Pieces<T>): Promise<T> {
  const pause = ticker();
  for (;;) {
    const { done, value } = work.next();
    if (done) return value;
    await pause();
  }
}
