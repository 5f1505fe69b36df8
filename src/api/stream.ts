/** Text as it is written, for who reads it in a loop. */
import type { Completion } from "./options";

/** Pieces of text, to be read once. Nothing is begun before the first is asked for; leaving the loop ends the writing. */
export interface TextStream extends AsyncIterable<string> {
  /** The whole text and how it ended, once the loop has come to its end; null before that. */
  readonly completion: Completion | null;
}

/** Writes, handing on each piece, until it has ended or the signal is aborted. */
export type Writing = (told: (text: string) => void, signal: AbortSignal) => Promise<Completion>;

/**
 * What is written goes on being written whether or not it is read, so that a slow reader holds up nobody: it waits here, and is at most one
 * answer.
 */
export function textStream(write: Writing, signal?: AbortSignal): TextStream {
  let completion: Completion | null = null;
  async function* pieces(): AsyncGenerator<string, void, undefined> {
    const waiting: string[] = [];
    const left = new AbortController();
    let news = Promise.withResolvers<void>();
    const so: { over: { readonly found: Completion } | { readonly error: unknown } | null } = { over: null };
    const written = write(
      (text) => {
        if (text === "") return;
        waiting.push(text);
        news.resolve();
      },
      signal ? AbortSignal.any([signal, left.signal]) : left.signal,
    )
      .then(
        (found) => {
          so.over = { found };
        },
        (error: unknown) => {
          so.over = { error };
        },
      )
      .finally(() => news.resolve());
    try {
      for (;;) {
        await news.promise;
        news = Promise.withResolvers();
        while (waiting.length > 0) {
          signal?.throwIfAborted();
          yield waiting.shift()!;
        }
        const { over } = so;
        if (over === null) continue;
        if ("error" in over) throw over.error;
        completion = over.found;
        return;
      }
    } finally {
      left.abort();
      await written;
    }
  }
  const reading = pieces();
  return {
    get completion() {
      return completion;
    },
    [Symbol.asyncIterator]: () => reading,
  };
}
