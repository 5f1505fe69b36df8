/**
 * A model that is talked to: conversations and texts in, text out as it is written, through the slots of a decoder of its own. What
 * chat and server have in common.
 */
import { templateFor } from "../data/template-for";
import type { Device } from "../device/device";
import { Decoder } from "../generate/decoder";
import type { Sampling } from "../generate/sampling";
import { type Job, type Scheduler, scheduler } from "../generate/scheduler";
import type { Model } from "../model/model";
import type { Slab } from "../model/slab";
import { type Ends, textReader } from "../text/reader";
import { type ChatTemplate, savedTemplate } from "../text/template";
import type { Tokenizer } from "../text/tokenizer";

export interface Speaker extends Disposable {
  /** What it is known by. */
  readonly name: string;
  readonly model: Model;
  readonly tokenizer: Tokenizer;
  /** Null where it has none: a model that has only learned to continue texts. */
  readonly template: ChatTemplate | null;
  readonly context: number;
  readonly queue: Scheduler;
}

/** One that was opened by a name. */
export interface OpenSpeaker extends Speaker {
  /** What opens it again. */
  readonly given: string;
  /** Why it is this one. */
  readonly why: string;
  /** What computes it, in words. */
  readonly device: string;
}

export interface SpeakerOptions {
  readonly name: string;
  readonly template: ChatTemplate | null;
  readonly slots: number;
  /** Requests that may wait for a slot. */
  readonly queue: number;
}

/** `wanted`: as `templateFor` has it; `auto` is the model's own, of which a model that has only learned to continue texts has none. */
export function templateOf(wanted: string, tokenizer: Tokenizer): ChatTemplate | null {
  return wanted === "auto" && savedTemplate(tokenizer) === null ? null : templateFor(wanted, "messages", tokenizer);
}

/** Tokens of a prompt that are run at a time: those who write wait for one piece at most. */
function pieceOf(device: Device): number {
  return device.info.kind === "cpu" ? 128 : 512;
}

/** Takes all memory that its answers need. */
export function speaker(
  device: Device,
  {
    model,
    slabs,
    tokenizer,
  }: { readonly model: Model; readonly slabs: readonly Slab[]; readonly tokenizer: Tokenizer },
  { name, template, slots, queue }: SpeakerOptions,
): Speaker {
  const { context } = model.config;
  const decoder = new Decoder(device, model, slabs, { slots, capacity: context, piece: pieceOf(device) });
  return {
    name,
    model,
    tokenizer,
    template,
    context,
    queue: scheduler(decoder, { queue }),
    [Symbol.dispose]: () => decoder[Symbol.dispose](),
  };
}

export interface Wanted {
  readonly ids: readonly number[];
  readonly sampling: Sampling;
  /** What makes its random numbers its own among others of the same seed. */
  readonly name?: number;
  readonly ends: Ends;
  readonly logitBias?: ReadonlyMap<number, number>;
  /** Tells every token, with so many of the likeliest in its place. */
  readonly top?: number | null;
  /** Leaves out white space at both ends of the answer. */
  readonly trim?: boolean;
}

/** A token that the answer's text is made of. */
export interface Written {
  readonly id: number;
  /** The model's own, before penalties, bias and temperature. */
  readonly logProb: number;
  readonly top: readonly { readonly id: number; readonly logProb: number }[];
  /** Where its text begins in the answer's, before white space was left out. */
  readonly at: number;
}

export interface Ended {
  readonly reason: "stop" | "length";
  /** Every token of the answer, with those that ended it. */
  readonly ids: readonly number[];
}

export interface Listener {
  /** It has a slot, whose cache held so many of its tokens already. */
  readonly begun?: (kept: number) => void;
  /** Each new token, before its text. */
  readonly token?: () => void;
  /** New text, and the tokens whose text has begun by now. */
  readonly text: (text: string, tokens: readonly Written[]) => void;
  readonly ended: (ended: Ended) => void;
  readonly failed: (error: unknown) => void;
}

/** Asks for an answer. Null where the queue is full. */
export function say(
  { tokenizer, queue }: Pick<Speaker, "tokenizer" | "queue">,
  { ids, sampling, name = 0, ends, logitBias, top = null, trim = false }: Wanted,
  listener: Listener,
): Job | null {
  const reader = textReader(tokenizer, ids, ends);
  const shaped = trim ? trimmer() : (text: string) => text;
  const drawn: number[] = [];
  const told = (text: string) => {
    const now = tokens.filter(({ at }) => at < reader.given);
    tokens.splice(0, now.length);
    const shown = shaped(text);
    if (shown !== "" || now.length > 0) listener.text(shown, now);
  };
  const tokens: Written[] = [];
  return queue.submit({
    ids,
    sampling,
    options: { name, logitBias, logProbs: top !== null, topLogProbs: top ?? 0 },
    begun: (kept) => listener.begun?.(kept),
    token({ id, logProb, top: likely }) {
      drawn.push(id);
      const at = reader.read;
      const text = reader.push(id);
      if (top !== null && !(reader.ended && reader.read === at)) {
        // Where the likeliest were looked at, the host's own number, so that the same token has one.
        const own = likely.find((one) => one.id === id)?.logProb ?? logProb!;
        tokens.push({ id, logProb: own, top: likely, at });
      }
      listener.token?.();
      told(text);
      return reader.ended;
    },
    ended(end) {
      told(reader.end());
      listener.ended({ reason: end === "stop" ? "stop" : "length", ids: drawn });
    },
    failed: listener.failed,
  });
}

/** Leaves out white space before the first word, and holds back what may be behind the last. */
function trimmer(): (text: string) => string {
  let begun = false;
  let held = "";
  return (text) => {
    const all = held + (begun ? text : text.trimStart());
    const words = all.trimEnd();
    held = all.slice(words.length);
    begun ||= words !== "";
    return words;
  };
}
