/**
 * Requests through a decoder's slots, first come first served: a bounded queue before it, a step at a time. It knows neither text nor who
 * asks. A slot keeps what it ran, and a request that begins like it goes on from there: so a conversation's next turn feeds only its new
 * tokens.
 */
import type { Decoder, Drawn } from "./decoder";
import type { Sampling } from "./sampling";
import { commonPrefix, type End, type StreamOptions } from "./stream";

export interface Request {
  readonly ids: readonly number[];
  readonly sampling: Sampling;
  readonly options: Omit<StreamOptions, "keep">;
  /** Told that it has a slot, whose cache holds so many of its tokens already. */
  readonly begun?: (kept: number) => void;
  /** Told each new token; true ends the sequence. */
  readonly token: (drawn: Drawn) => boolean;
  readonly ended: (end: End) => void;
  /** Told instead of `ended` where it cannot go on. */
  readonly failed: (error: unknown) => void;
}

export interface Job {
  /** Nothing more is told, and its slot is free. */
  cancel(): void;
}

export interface Scheduler {
  readonly slots: number;
  readonly running: number;
  readonly waiting: number;
  /** How many requests `submit` would take now. */
  readonly room: number;
  /** Null where the queue is full. The prompt must be one that the decoder can run (`checkPrompt`). */
  submit(request: Request): Job | null;
  /** Admits who waits, and runs a step. Throws what the decoder throws: then nothing can go on. */
  step(): void;
  /** Tells every request that it failed. */
  fail(error: unknown): void;
}

/** Tokens in common from which on a slot is chosen for what it holds. */
const WORTH = 8;

/** `queue`: requests that may wait. */
export function scheduler(decoder: Decoder, { queue }: { readonly queue: number }): Scheduler {
  let waiting: Request[] = [];
  const running = new Map<number, Request>();
  const used = new Array<number>(decoder.slots).fill(0);
  let clock = 0;

  /** The free slot that holds most of the beginning, else the one that was used least lately. */
  const slotFor = (ids: readonly number[]) => {
    const free = used.flatMap((_, slot) => (running.has(slot) ? [] : [slot]));
    const held = free.map((slot) => ({ slot, common: commonPrefix(decoder.held(slot), ids) }));
    const worth = ({ common }: { common: number }) => (common >= WORTH ? common : 0);
    return held.reduce((a, b) => ((worth(b) - worth(a) || used[a.slot]! - used[b.slot]!) > 0 ? b : a));
  };
  const admit = (request: Request) => {
    const { slot, common } = slotFor(request.ids);
    const keep = Math.min(common, request.ids.length - 1);
    decoder.admit(slot, request.ids, request.sampling, { ...request.options, keep });
    running.set(slot, request);
    used[slot] = ++clock;
    guarded(slot, request, () => request.begun?.(keep));
  };
  const release = (slot: number) => {
    decoder.release(slot);
    running.delete(slot);
  };
  /** What a request does with its own token concerns no other. */
  const guarded = (slot: number, request: Request, tell: () => void) => {
    try {
      tell();
    } catch (error) {
      if (running.get(slot) === request) release(slot);
      request.failed(error);
    }
  };
  return {
    slots: decoder.slots,
    get running() {
      return running.size;
    },
    get waiting() {
      return waiting.length;
    },
    get room() {
      return queue + decoder.slots - running.size - waiting.length;
    },
    submit(request) {
      if (this.room <= 0) return null;
      waiting.push(request);
      return {
        cancel() {
          waiting = waiting.filter((other) => other !== request);
          for (const [slot, other] of running) if (other === request) release(slot);
        },
      };
    },
    step() {
      while (waiting.length > 0 && running.size < decoder.slots) admit(waiting.shift()!);
      for (const drawn of decoder.step()) {
        const request = running.get(drawn.slot);
        // One that another's token has ended.
        if (!request) continue;
        guarded(drawn.slot, request, () => {
          const ends = request.token(drawn);
          if (running.get(drawn.slot) !== request) return;
          const end = ends ? "stop" : drawn.end;
          if (end === null) return;
          release(drawn.slot);
          request.ended(end);
        });
      }
    },
    fail(error) {
      const all = [...running.values(), ...waiting];
      for (const slot of [...running.keys()]) release(slot);
      waiting = [];
      for (const request of all) request.failed(error);
    },
  };
}

/** Steps schedulers for as long as one has work, with room between the steps in which whoever asks is heard. */
export interface Runner {
  /** To be called after `submit`. */
  wake(): void;
  /** Whether a fault has ended it. */
  readonly faulted: boolean;
}

/** `fault`: what a step has thrown, after all requests were told. */
export function runner(
  schedulers: readonly Scheduler[],
  pause: () => Promise<void>,
  fault: (error: unknown) => void = () => {},
): Runner {
  let awake = false;
  let faulted = false;
  const run = async () => {
    try {
      for (;;) {
        const busy = schedulers.filter(({ running, waiting }) => running + waiting > 0);
        if (busy.length === 0) return;
        for (const one of busy) one.step();
        await pause();
      }
    } catch (error) {
      faulted = true;
      for (const one of schedulers) one.fail(error);
      fault(error);
    } finally {
      awake = false;
    }
  };
  return {
    wake() {
      if (awake || faulted) return;
      awake = true;
      // Not at once: who submits several has them begin together.
      void pause().then(run);
    },
    get faulted() {
      return faulted;
    },
  };
}
