/** One sequence in a slot of a decoder: its tokens, how far the cache holds them, and when it ends. */
import { UserError } from "../errors";
import type { ModelConfig } from "../model/architecture";
import { pcg } from "../ops/random";
import type { Sampling } from "./sampling";

/** `full`: the slot has no room for the token, the others: a token of `stop`, or as many as `maxTokens`. */
export type End = "stop" | "length" | "full";

export interface StreamOptions {
  /** How many of the tokens the slot's cache holds already, from what it ran before or from `share`. */
  readonly keep?: number;
  /** What makes its random numbers its own among others of the same seed; 0 if absent. */
  readonly name?: number;
  /** Tokens that end it. */
  readonly stop?: ReadonlySet<number>;
  /** Added to the logits of tokens. */
  readonly logitBias?: ReadonlyMap<number, number> | undefined;
  /** Tells the log-probability of every token: the model's own, before penalties, bias and temperature; or with the temperature. */
  readonly logProbs?: boolean | "tempered";
  /** Tells with it the likeliest tokens, so many: read back at every step. */
  readonly topLogProbs?: number;
}

export interface Stream {
  /** The prompt, and what was drawn. */
  ids: number[];
  /** Tokens that the cache holds. */
  at: number;
  /** Tokens that were drawn. */
  drawn: number;
  open: boolean;
  readonly seed: number;
  readonly sampling: Sampling;
  readonly options: StreamOptions;
}

export function newStream(ids: readonly number[], sampling: Sampling, options: StreamOptions): Stream {
  // Twice, so that a seed and a name are never what the next seed and the name before are.
  const seed = pcg((pcg(sampling.seed) + (options.name ?? 0)) >>> 0);
  return { ids: [...ids], at: options.keep ?? 0, drawn: 0, open: true, seed, sampling, options };
}

/** Takes in a token, and says whether it is the last. */
export function push(stream: Stream, id: number, capacity: number): End | null {
  stream.ids.push(id);
  stream.drawn++;
  const end = stream.options.stop?.has(id)
    ? "stop"
    : stream.drawn >= stream.sampling.maxTokens
      ? "length"
      : stream.at >= capacity
        ? "full"
        : null;
  if (end !== null) stream.open = false;
  return end;
}

/** How many tokens two sequences begin with in common. */
export function commonPrefix(a: readonly number[], b: readonly number[]): number {
  const most = Math.min(a.length, b.length);
  let count = 0;
  while (count < most && a[count] === b[count]) count++;
  return count;
}

/** Throws a UserError where a prompt cannot be continued: to be asked early about those that come late. */
export function checkPrompt(prompt: readonly number[], { context, vocabulary }: ModelConfig, room = context): void {
  if (prompt.length === 0)
    throw new UserError("a prompt has no tokens", { hint: "give a prompt of at least one character" });
  if (prompt.length > context) {
    throw new UserError(`the prompt has ${prompt.length} tokens, and the model's context is ${context}`, {
      hint: "shorten the prompt",
    });
  }
  if (prompt.length > room) throw new Error(`a prompt of ${prompt.length} tokens does not fit a slot of ${room}`);
  const bad = prompt.find((id) => !(id >= 0 && id < vocabulary));
  if (bad !== undefined) throw new UserError(`token ${bad} is not in the model's vocabulary of ${vocabulary}`);
}
