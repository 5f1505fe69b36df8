/** Batches of prompts of token ids in, tokens out, over a decoder that is made as large as they need. */
import type { Device } from "../device/device";
import type { Model } from "../model/model";
import type { Slab } from "../model/slab";
import { Decoder } from "./decoder";
import { type Asked, namesOf } from "./names";
import { roundUp } from "./passes";
import { laterHalf, type Rollout, type RolloutOptions, rolloutSteps } from "./rollouts";
import { type Sampling, sampling } from "./sampling";
import { checkPrompt } from "./stream";

export interface GenerateOptions extends Sampling {
  /** Asked after each new token; true ends that sequence. The token itself is still given out. */
  readonly ends?: (row: number, id: number) => boolean;
  /** Told the model's own log-probability of each new token, before penalties, bias and temperature; asked before `ends`. */
  readonly onLogProb?: (row: number, id: number, logProb: number) => void;
  /** Added to the logits of tokens. */
  readonly logitBias?: ReadonlyMap<number, number>;
  /** So many of the prompts, one behind the other, are samples of one; 1 if absent. */
  readonly samples?: number;
  /** What was asked for before, by the same: equal prompts go on to other random numbers. */
  readonly asked?: Asked;
}

export type TogetherOptions = RolloutOptions & { readonly together: number };

/** The new token of each sequence, or null for one that has ended. */
export type Column = readonly (number | null)[];

export class Engine implements Disposable {
  private readonly device: Device;
  private readonly model: Model;
  private readonly slabs: readonly Slab[];
  private decoder: Decoder | null = null;
  /** Texts that were begun: only the last one may go on. */
  private begun = 0;

  /** `slabs`: the weights of the model and of its adapters. */
  constructor(device: Device, model: Model, slabs: readonly Slab[]) {
    this.device = device;
    this.model = model;
    this.slabs = slabs;
  }

  /**
   * Writes on after each prompt, one column of tokens at a time. Stops when all have ended or `maxTokens` were given. What a prompt's random
   * numbers are depends on nothing but the seed, what it says, and how often the same was asked for before it.
   */
  *generate(prompts: readonly (readonly number[])[], options: GenerateOptions): Generator<Column> {
    this.expectPrompts(prompts);
    const longest = Math.max(...prompts.map(({ length }) => length));
    const decoder = this.decoderOf(prompts.length, longest + options.maxTokens);
    const { ends, onLogProb, logitBias } = options;
    const names = namesOf(prompts, options.asked ?? new Map(), options.samples);
    const rows = prompts.map((prompt) => ({ ids: [...prompt], first: prompt.length, ended: false }));
    prompts.forEach((prompt, row) => {
      decoder.admit(row, prompt, options, { name: names[row]!, logitBias, logProbs: onLogProb !== undefined });
    });
    const mine = this.begun;
    const step = () => {
      if (mine !== this.begun) throw new Error("generate: another text was begun before this one had ended");
      for (const { slot, id, logProb, end } of decoder.step()) {
        const row = rows[slot]!;
        row.ids.push(id);
        if (logProb !== null) onLogProb?.(slot, id, logProb);
        row.ended = (ends?.(slot, id) ?? false) || end === "length";
        if (row.ended) decoder.release(slot);
        // A sequence that has filled the context goes on from the later half of it; the others keep what they have.
        else if (end === "full") decoder.replace(slot, laterHalf(row.ids, decoder.capacity));
      }
    };
    for (let given = 0; ; given++) {
      // Prompts are run piece by piece, so that some rows are ahead of others.
      while (rows.some(({ ids, first, ended }) => !ended && ids.length <= first + given)) step();
      const column = rows.map(({ ids, first }) => ids[first + given] ?? null);
      if (column.every((id) => id === null)) return;
      yield column;
    }
  }

  /** What follows each prompt, `together` of them at a time, in the order of their ends. */
  *rollouts(prompts: readonly (readonly number[])[], options: TogetherOptions): Generator<Rollout> {
    for (const ended of this.rolloutSteps(prompts, options)) yield* ended;
  }

  /** The same step by step: what has ended in each, often nothing, so that who asks may do something else between. */
  *rolloutSteps(
    prompts: readonly (readonly number[])[],
    { together, ...options }: TogetherOptions,
  ): Generator<Rollout[]> {
    if (prompts.length === 0) return;
    this.expectPrompts(prompts);
    const longest = prompts.reduce((most, { length }) => Math.max(most, length), 0);
    const decoder = this.decoderOf(Math.min(together, prompts.length), longest + options.maxTokens);
    const mine = this.begun;
    for (const ended of rolloutSteps(decoder, prompts, options)) {
      yield ended;
      if (mine !== this.begun) throw new Error("rollouts: another text was begun before these had ended");
    }
  }

  /** Logits of the token that follows the prompt. */
  nextLogits(prompt: readonly number[]): Float32Array {
    this.expectPrompts([prompt]);
    const decoder = this.decoderOf(1, prompt.length);
    decoder.admit(0, prompt, sampling.parse({ temperature: 0, maxTokens: 1 }));
    while (decoder.running(0)) decoder.step();
    return decoder.logits(0);
  }

  /** Throws a UserError where a prompt cannot be continued: to be asked early about those that come late. */
  expectPrompts(prompts: readonly (readonly number[])[]): void {
    for (const prompt of prompts) checkPrompt(prompt, this.model.config);
  }

  /**
   * An empty decoder with room for so many sequences of so many tokens, or of as many as the context has. The one that there is, where
   * it is large enough. The weights may have changed since it was used.
   */
  private decoderOf(slots: number, tokens: number): Decoder {
    const capacity = Math.min(this.model.config.context, roundUp(tokens));
    this.begun++;
    if (this.decoder && this.decoder.slots >= slots && this.decoder.capacity >= capacity) {
      this.decoder.forget();
      return this.decoder;
    }
    this.decoder?.[Symbol.dispose]();
    this.decoder = null;
    this.decoder = new Decoder(this.device, this.model, this.slabs, { slots, capacity });
    return this.decoder;
  }

  [Symbol.dispose](): void {
    this.decoder?.[Symbol.dispose]();
    this.decoder = null;
  }
}
