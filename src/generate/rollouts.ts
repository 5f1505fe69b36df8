/** Prompts through a decoder's slots, as many at a time as there are slots: one that ends is given the next prompt at once. */
import type { Decoder } from "./decoder";
import { type Asked, namesOf } from "./names";
import type { Sampling } from "./sampling";
import type { End, StreamOptions } from "./stream";

export interface RolloutOptions extends Sampling, Pick<StreamOptions, "stop" | "logitBias" | "logProbs"> {
  /** Asked after each new token; true ends that prompt's text. The token itself is part of it. */
  readonly ends?: (index: number, id: number) => boolean;
  /** What is full goes on from the later half of its tokens, instead of ending. */
  readonly slide?: boolean;
}

export interface Rollout {
  /** Which prompt it follows, counted from 0. */
  readonly index: number;
  readonly ids: readonly number[];
  /** Of each token, where they were asked for. */
  readonly logProbs: readonly number[];
  readonly end: End;
}

interface Open {
  readonly index: number;
  readonly prompt: readonly number[];
  readonly ids: number[];
  readonly logProbs: number[];
}

/** What follows each prompt, in the order of their ends. */
export function* rollouts(
  decoder: Decoder,
  prompts: Iterable<readonly number[]>,
  options: RolloutOptions,
): Generator<Rollout> {
  for (const ended of rolloutSteps(decoder, prompts, options)) yield* ended;
}

/** The same step by step: what has ended in each, often nothing, so that who asks may do something else between. */
export function* rolloutSteps(
  decoder: Decoder,
  prompts: Iterable<readonly number[]>,
  options: RolloutOptions,
): Generator<Rollout[]> {
  decoder.forget();
  const asked: Asked = new Map();
  const coming = prompts[Symbol.iterator]();
  const open = new Map<number, Open>();
  let index = 0;
  const fill = (slot: number) => {
    const next = coming.next();
    if (next.done) return;
    open.set(slot, { index: index++, prompt: next.value, ids: [], logProbs: [] });
    const [name = 0] = namesOf([next.value], asked);
    decoder.admit(slot, next.value, options, { ...options, name });
  };
  try {
    for (let slot = 0; slot < decoder.slots; slot++) fill(slot);
    while (open.size) {
      const ended: Rollout[] = [];
      const free: number[] = [];
      for (const { slot, id, logProb, end: reason } of decoder.step()) {
        const { prompt, ...rollout } = open.get(slot)!;
        rollout.ids.push(id);
        if (logProb !== null) rollout.logProbs.push(logProb);
        const end = options.ends?.(rollout.index, id) ? "stop" : reason;
        if (end === null) continue;
        if (end === "full" && options.slide) {
          decoder.replace(slot, laterHalf([...prompt, ...rollout.ids], decoder.capacity));
          continue;
        }
        decoder.release(slot);
        open.delete(slot);
        ended.push({ ...rollout, end });
        free.push(slot);
      }
      yield ended;
      for (const slot of free) fill(slot);
    }
  } finally {
    for (const slot of open.keys()) decoder.release(slot);
    coming.return?.();
  }
}

/** What a sequence that has filled its slot goes on from. */
export function laterHalf(ids: readonly number[], capacity: number): number[] {
  return ids.slice(-Math.max(1, capacity >> 1));
}
