/**
 * Decoding by slots: a fixed number of sequences over one key-value cache, each with settings of its own. A sequence comes and goes
 * while others go on. It knows token ids, not text. Tokens are drawn on the device, so a step reads back one id a sequence.
 */
import type { Device } from "../device/device";
import type { Model } from "../model/model";
import type { Slab } from "../model/slab";
import { NO_SLOT } from "../ops/attention-decode";
import { NOT_FINITE } from "../ops/sample";
import { type DecoderSize, decodeRows, type Pass, Passes, PIECE, pieceRows, pieceTokens } from "./passes";
import { type Likely, likeliest, notFinite } from "./probabilities";
import type { Sampling } from "./sampling";
import { checkPrompt, commonPrefix, type End, newStream, push, type Stream, type StreamOptions } from "./stream";

/** A new token of a sequence. */
export interface Drawn {
  readonly slot: number;
  readonly id: number;
  /** Where it was asked for: the model's own, before penalties, bias and temperature, or with the temperature. */
  readonly logProb: number | null;
  /** The likeliest tokens in its place, where they were asked for. */
  readonly top: readonly Likely[];
  /** Why it is the sequence's last, or null. */
  readonly end: End | null;
}

/** Tokens of a beginning that are worth copying from another slot, where it is not the whole prompt. */
const WORTH = 64;

export class Decoder implements Disposable {
  readonly slots: number;
  readonly capacity: number;
  private readonly model: Model;
  private readonly size: Required<DecoderSize>;
  private readonly passes: Passes;
  /** What each slot runs, or ran last. */
  private readonly streams: (Stream | null)[];
  private readonly biased: boolean[];
  /** Slots whose prompts are still to be run, in the order of their coming. */
  private waiting: number[] = [];
  /** When each slot came, or had a piece run: the one that has waited longest is next, so that a long prompt does not hold up a short one. */
  private readonly turns: number[];
  private turn = 0;
  private last: { readonly pass: Pass; readonly rows: readonly number[] } | null = null;

  /** `slabs`: the weights of the model and of its adapters. */
  constructor(device: Device, model: Model, slabs: readonly Slab[], { slots, capacity, piece = PIECE }: DecoderSize) {
    const { context } = model.config;
    if (!(slots >= 1 && capacity >= 1 && capacity <= context))
      throw new Error(`a decoder of ${slots} slots of ${capacity} positions, of at most ${context}`);
    this.slots = slots;
    this.capacity = capacity;
    this.model = model;
    this.size = { slots, capacity, piece };
    this.passes = new Passes(device, model, slabs, this.size);
    this.streams = new Array<Stream | null>(slots).fill(null);
    this.biased = new Array<boolean>(slots).fill(false);
    this.turns = new Array<number>(slots).fill(0);
  }

  /** Begins a sequence. What the slot ran before must have ended or been released. */
  admit(slot: number, ids: readonly number[], sampling: Sampling, options: StreamOptions = {}): void {
    checkPrompt(ids, this.model.config, this.capacity);
    const before = this.at(slot);
    if (before?.open) throw new Error(`slot ${slot} is in use`);
    const { keep = 0, logitBias } = options;
    const common = before ? Math.min(before.at, commonPrefix(before.ids, ids)) : 0;
    if (keep > Math.min(common, ids.length - 1))
      throw new Error(`slot ${slot} is to keep ${keep} of ${ids.length} tokens, and holds ${common}`);
    const { vocabulary } = this.model.config;
    const counts = new Uint32Array(vocabulary);
    for (const id of ids) counts[id]!++;
    const bias = logitBias?.size || this.biased[slot] ? new Float32Array(vocabulary) : null;
    for (const [id, value] of logitBias ?? []) bias![id] = value;
    this.biased[slot] = (logitBias?.size ?? 0) > 0;
    this.passes.settle(slot, { settings: settingsOf(sampling), counts, bias });
    this.begin(slot, newStream(ids, sampling, options));
  }

  /** Goes on with other tokens in the place of all before: the same random numbers, and penalties for all that was seen. */
  replace(slot: number, ids: readonly number[]): void {
    checkPrompt(ids, this.model.config, this.capacity);
    const before = this.at(slot);
    if (!before) throw new Error(`slot ${slot} has run nothing`);
    this.release(slot);
    this.begin(slot, { ...before, ids: [...ids], at: 0, open: true });
  }

  private begin(slot: number, stream: Stream): void {
    this.streams[slot] = stream;
    this.turns[slot] = ++this.turn;
    if (left(stream) > 1) this.waiting.push(slot);
  }

  /** Ends a sequence. What its slot holds stays there until another is admitted. */
  release(slot: number): void {
    const stream = this.at(slot);
    if (stream) stream.open = false;
    this.waiting = this.waiting.filter((other) => other !== slot);
  }

  /** Drops every sequence and all that the cache holds: to be called where the weights have changed. */
  forget(): void {
    this.streams.fill(null);
    this.waiting = [];
  }

  /** The tokens whose keys and values a slot holds: what `keep` may count. */
  held(slot: number): readonly number[] {
    const stream = this.at(slot);
    return stream ? stream.ids.slice(0, stream.at) : [];
  }

  /** Whether a sequence has not ended. */
  running(slot: number): boolean {
    return this.at(slot)?.open ?? false;
  }

  /** Copies the first `count` tokens that a slot holds to another, for `keep`. */
  share(from: number, to: number, count: number): void {
    const source = this.at(from);
    if (count > (source?.at ?? 0)) throw new Error(`slot ${from} does not hold ${count} tokens`);
    if (this.at(to)?.open) throw new Error(`slot ${to} is in use`);
    if (from !== to) this.passes.copy(from, to, count);
    const ids = source!.ids.slice(0, count);
    this.streams[to] = { ...source!, ids, at: count, open: false };
  }

  /** One piece of the prompts that wait, and one token of each sequence that runs. */
  step(): Drawn[] {
    const ready = this.waiting.length ? this.withoutShared() : [];
    const running: number[] = [];
    for (let slot = 0; slot < this.slots; slot++) {
      const stream = this.streams[slot];
      if (stream?.open && left(stream) === 1) running.push(slot);
    }
    const drawn = ready.length ? this.prefill(ready) : [];
    return running.length ? [...drawn, ...this.decode(running)] : drawn;
  }

  /** Logits of the token that was drawn last for a slot; until the next pass. */
  logits(slot: number): Float32Array {
    const row = this.last?.rows.indexOf(slot) ?? -1;
    if (!this.last || row < 0) throw new Error(`slot ${slot} was not in the last pass`);
    return this.rowOf(this.allLogits(this.last.pass), row);
  }

  private allLogits({ program, logits }: Pass): Float32Array {
    return program.read(logits);
  }

  private rowOf(logits: Float32Array, row: number): Float32Array {
    const { vocabulary } = this.model.config;
    return logits.slice(row * vocabulary, (row + 1) * vocabulary);
  }

  private prefill(waiting: readonly number[]): Drawn[] {
    const ready = waiting.toSorted((a, b) => this.turns[a]! - this.turns[b]!);
    const head = ready[0]!;
    const shapeOf = (slot: number) => {
      const stream = this.streams[slot]!;
      return { tokens: pieceTokens(left(stream), this.size), fresh: stream.at === 0 };
    };
    const { tokens, fresh } = shapeOf(head);
    const alike = ready.filter((slot) => {
      const other = shapeOf(slot);
      return other.tokens === tokens && other.fresh === fresh;
    });
    const rows = alike.slice(0, pieceRows(alike.length, tokens, this.size));
    const drawn = this.run(rows, { rows: rows.length, tokens, fresh });
    for (const slot of rows) this.turns[slot] = ++this.turn;
    this.waiting = this.waiting.filter((slot) => this.streams[slot]!.open && left(this.streams[slot]!) > 1);
    return drawn;
  }

  private decode(rows: readonly number[]): Drawn[] {
    return this.run(rows, { rows: decodeRows(rows.length, this.slots), tokens: 1, fresh: false });
  }

  /**
   * The waiting slots whose next piece is to be run. The beginning of a prompt that another slot holds is copied from there; one that
   * a slot before it in the queue will soon hold is waited for.
   */
  private withoutShared(): number[] {
    const ready: number[] = [];
    for (const slot of this.waiting) {
      const stream = this.streams[slot]!;
      if (stream.at === 0) {
        const worth = Math.min(WORTH, stream.ids.length - 1);
        const best = { from: slot, count: worth - 1 };
        let coming = worth - 1;
        this.streams.forEach((other, from) => {
          if (!other || from === slot) return;
          const common = Math.min(commonPrefix(other.ids, stream.ids), stream.ids.length - 1);
          if (ready.includes(from)) coming = Math.max(coming, common);
          if (Math.min(common, other.at) > best.count) Object.assign(best, { from, count: Math.min(common, other.at) });
        });
        if (coming > best.count) continue;
        if (best.from !== slot) {
          this.passes.copy(best.from, slot, best.count);
          stream.at = best.count;
        }
      }
      if (left(stream) > 1) ready.push(slot);
    }
    this.waiting = this.waiting.filter((slot) => left(this.streams[slot]!) > 1);
    return ready;
  }

  /** Runs the next tokens of some slots, and draws a token for each whose prompt that ends. Rows past the last slot are nobody's. */
  private run(slots: readonly number[], shape: { rows: number; tokens: number; fresh: boolean }): Drawn[] {
    const length = shape.tokens;
    const pass = this.passes.of(shape);
    const { tokens, positions, starts, slots: places, streams, lastRows } = pass.fed;
    tokens.fill(0);
    positions.fill(0);
    places.fill(NO_SLOT);
    streams.fill(NO_SLOT);
    const finished: { slot: number; row: number; stream: Stream }[] = [];
    slots.forEach((slot, row) => {
      const stream = this.streams[slot]!;
      const count = Math.min(length, left(stream));
      for (let i = 0; i < count; i++) tokens[row * length + i] = stream.ids[stream.at + i]!;
      for (let i = 0; i < length; i++) positions[row * length + i] = Math.min(stream.at + i, this.capacity - 1);
      starts[row] = stream.at;
      places[row] = slot;
      lastRows[row] = row * length + count - 1;
      stream.at += count;
      if (left(stream) > 0) return;
      streams[3 * row] = slot;
      streams[3 * row + 1] = stream.seed;
      streams[3 * row + 2] = stream.drawn;
      finished.push({ slot, row, stream });
    });
    const { program } = pass;
    program.feed(pass.tokens, tokens);
    program.feed(pass.positions, positions);
    if (pass.starts !== pass.positions) program.feed(pass.starts, starts);
    program.feed(pass.slots, places);
    program.feed(pass.streams, streams);
    if (pass.lastRows) program.feed(pass.lastRows, lastRows);
    program.run();
    this.last = { pass, rows: slots };
    if (finished.length === 0) return [];
    const ids = this.passes.drawnBy(pass);
    const temperatures = new Set(finished.map(({ stream }) => scoredAt(stream)).filter((one) => one !== null));
    const scored = new Map([...temperatures].map((one) => [one, this.passes.logProbsOf(pass, one)]));
    let logits: Float32Array | null = null;
    return finished.map(({ slot, row, stream }) => {
      const id = ids[row]!;
      if (id === NOT_FINITE) throw notFinite();
      const temperature = scoredAt(stream);
      const logProb = temperature === null ? null : scored.get(temperature)![row]!;
      const { topLogProbs = 0 } = stream.options;
      const top = topLogProbs > 0 ? likeliest(this.rowOf((logits ??= this.allLogits(pass)), row), topLogProbs) : [];
      return { slot, id, logProb, top, end: push(stream, id, this.capacity) };
    });
  }

  private at(slot: number): Stream | null {
    const stream = this.streams[slot];
    if (stream === undefined) throw new Error(`slot ${slot} of ${this.slots}`);
    return stream;
  }

  [Symbol.dispose](): void {
    this.passes[Symbol.dispose]();
  }
}

/** Temperatures at which the likeliest token is all that is ever drawn, and by which logits would become infinite. */
const GREEDY = 1e-6;

/** Tokens that the cache does not hold yet. */
function left({ ids, at }: Stream): number {
  return ids.length - at;
}

/** The temperature at which a sequence's tokens are scored; null where they are not. */
function scoredAt({ options: { logProbs = false }, sampling }: Stream): number | null {
  if (logProbs !== "tempered") return logProbs ? 1 : null;
  if (sampling.temperature < GREEDY)
    throw new Error("at temperature 0 a token's log-probability is no number to go by");
  return sampling.temperature;
}

function settingsOf(s: Sampling): Float32Array {
  return Float32Array.of(
    s.temperature < GREEDY ? 0 : s.temperature,
    s.topK,
    s.topP,
    s.minP,
    s.repetitionPenalty,
    s.presencePenalty,
    s.frequencyPenalty,
  );
}
