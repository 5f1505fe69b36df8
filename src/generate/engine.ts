/**
 * The decoding engine: prompts of token ids in, columns of token ids out. It knows no text. Tokens are drawn on the device, so a
 * step reads back one id a sequence.
 */

import type { Device } from "../device/device";
import { UserError } from "../errors";
import type { Model } from "../model/model";

import type { Slab } from "../model/slab";
import { pcg } from "../ops/random";
import type { Sampling } from "./sampling";
import { type Row, roundUp, Session } from "./session";

export interface GenerateOptions extends Sampling {
  /** Asked after each new token; true ends that sequence. The token itself is still given out. */
  readonly ends?: (row: number, id: number) => boolean;
  /** Told the model's own log-probability of each new token, before penalties, bias and temperature; asked before `ends`. */
  readonly onLogProb?: (row: number, id: number, logProb: number) => void;
  /** Added to the logits of tokens. */
  readonly logitBias?: ReadonlyMap<number, number>;
}

/** The new token of each sequence, or null for one that has ended. */
export type Column = readonly (number | null)[];

export class Engine implements Disposable {
  private readonly device: Device;
  private readonly model: Model;
  private readonly slabs: readonly Slab[];
  private readonly sessions = new Map<string, Session>();

  /** `slabs`: the weights of the model and of its adapters. */
  constructor(device: Device, model: Model, slabs: readonly Slab[]) {
    this.device = device;
    this.model = model;
    this.slabs = slabs;
  }

  /** Writes on after each prompt, one column of tokens at a time. Stops when all have ended or `maxTokens` were given. */
  *generate(prompts: readonly (readonly number[])[], options: GenerateOptions): Generator<Column> {
    const { context } = this.model.config;
    this.expectPrompts(prompts);
    const longest = Math.max(...prompts.map(({ length }) => length));
    const session = this.session(prompts.length, longest + options.maxTokens);
    const rows = prompts.map((prompt, row) => ({
      ids: [...prompt],
      at: 0,
      ended: false,
      seed: pcg((options.seed + row) >>> 0),
    }));
    session.begin(rows, options);

    for (let drawn = 0; drawn < options.maxTokens && rows.some(({ ended }) => !ended); drawn++) {
      // A sequence that has filled the context goes on from the later half of it; the others keep what they have.
      const full = rows.some(({ at, ended }) => at >= context && !ended);
      if (full) for (const row of rows) if (row.at >= context) row.ids = row.ids.slice(-Math.max(1, context >> 1));
      const ids =
        drawn === 0 ? this.first(session, rows) : full ? session.prefill(rows, drawn) : session.decode(rows, drawn);
      const logProbs = options.onLogProb && session.logProbs();
      const column = rows.map((row, i) => {
        const id = ids[i]!;
        row.ids.push(id);
        if (row.ended) return null;
        if (logProbs) options.onLogProb?.(i, id, logProbs[i]!);
        row.ended = options.ends?.(i, id) ?? false;
        return id;
      });
      yield column;
    }
  }

  /** The first token of each row. Prompts that occur more than once are run once, and their keys and values copied. */
  private first(session: Session, rows: Row[]): Uint32Array {
    const places = new Map<string, number>();
    const different = rows.filter(({ ids }) => {
      const key = ids.join();
      if (places.has(key)) return false;
      places.set(key, places.size);
      return true;
    });
    if (different.length === rows.length) return session.prefill(rows, 0);
    const source = this.sessionOf(different.length, session.capacity);
    const rowOf = Uint32Array.from(rows, ({ ids }) => places.get(ids.join())!);
    return session.adopt(source, different, rows, rowOf);
  }

  /** Logits of the token that follows the prompt. */
  nextLogits(prompt: readonly number[]): Float32Array {
    this.expectPrompts([prompt]);
    return this.session(1, prompt.length + 1).nextLogits(prompt);
  }

  /** Throws a UserError where a prompt cannot be continued: to be asked early about those that come late. */
  expectPrompts(prompts: readonly (readonly number[])[]): void {
    for (const prompt of prompts) this.checkPrompt(prompt);
  }

  private checkPrompt(prompt: readonly number[]): void {
    const { context, vocabulary } = this.model.config;
    if (prompt.length === 0)
      throw new UserError("a prompt has no tokens", { hint: "give a prompt of at least one character" });
    if (prompt.length > context) {
      throw new UserError(`the prompt has ${prompt.length} tokens, and the model's context is ${context}`, {
        hint: "shorten the prompt",
      });
    }
    const bad = prompt.find((id) => !(id >= 0 && id < vocabulary));
    if (bad !== undefined) throw new UserError(`token ${bad} is not in the model's vocabulary of ${vocabulary}`);
  }

  private session(batch: number, tokens: number): Session {
    return this.sessionOf(batch, Math.min(this.model.config.context, roundUp(tokens)));
  }

  private sessionOf(batch: number, capacity: number): Session {
    const key = `${batch} ${capacity}`;
    let session = this.sessions.get(key);
    if (!session) {
      session = new Session(this.device, this.model, this.slabs, { batch, capacity });
      this.sessions.set(key, session);
    }
    return session;
  }

  [Symbol.dispose](): void {
    for (const session of this.sessions.values()) session[Symbol.dispose]();
    this.sessions.clear();
  }
}
