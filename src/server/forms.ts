/**
 * How answers are told: as a chat's or as a completion's, whole or in chunks. OpenAI's clients want every chunk to have `choices`, the
 * first of each choice its role, the last alone a finish reason.
 */
import type { Written } from "../app/speaker";
import { tokenBytes } from "../text/token-bytes";
import type { Tokenizer } from "../text/tokenizer";

export interface Usage {
  readonly prompt_tokens: number;
  readonly completion_tokens: number;
  readonly total_tokens: number;
  readonly prompt_tokens_details: { readonly cached_tokens: number };
}

/** One of the answers to a request, as far as it is written. */
export interface Choice {
  text: string;
  readonly tokens: Written[];
  reason: "stop" | "length" | null;
}

/** What is new of an answer. */
export interface Piece {
  readonly text: string;
  readonly tokens: readonly Written[];
}

export interface Form {
  readonly prefix: "chatcmpl" | "cmpl";
  readonly object: string;
  readonly chunkObject: string;
  /** What an answer begins with in a stream; null where that is nothing. */
  first(index: number): object | null;
  piece(index: number, piece: Piece): object;
  last(index: number, reason: "stop" | "length"): object;
  whole(index: number, choice: Choice): object;
}

/** `logProbs`: whether they were asked for. */
export function chatForm(tokenizer: Tokenizer, logProbs: boolean): Form {
  const tell = tokenTeller(tokenizer);
  const listed = (tokens: readonly Written[]) =>
    logProbs
      ? {
          content: tokens.map(({ id, logProb, top }) => ({
            ...tell(id, logProb),
            top_logprobs: top.map((one) => tell(one.id, one.logProb)),
          })),
          refusal: null,
        }
      : null;
  return {
    prefix: "chatcmpl",
    object: "chat.completion",
    chunkObject: "chat.completion.chunk",
    first: (index) => ({ index, delta: { role: "assistant", content: "" }, logprobs: null, finish_reason: null }),
    piece: (index, { text, tokens }) => ({
      index,
      delta: { content: text },
      logprobs: listed(tokens),
      finish_reason: null,
    }),
    last: (index, reason) => ({ index, delta: {}, logprobs: null, finish_reason: reason }),
    whole: (index, { text, tokens, reason }) => ({
      index,
      message: { role: "assistant", content: text, refusal: null },
      logprobs: listed(tokens),
      finish_reason: reason,
    }),
  };
}

export function completionForm(tokenizer: Tokenizer, logProbs: boolean): Form {
  const tell = tokenTeller(tokenizer);
  const listed = (tokens: readonly Written[]) =>
    logProbs
      ? {
          tokens: tokens.map(({ id, logProb }) => tell(id, logProb).token),
          token_logprobs: tokens.map(({ logProb }) => logProb),
          top_logprobs: tokens.map(({ top }) =>
            Object.fromEntries(top.map((one) => [tell(one.id, one.logProb).token, one.logProb])),
          ),
          text_offset: tokens.map(({ at }) => at),
        }
      : null;
  return {
    prefix: "cmpl",
    object: "text_completion",
    chunkObject: "text_completion",
    first: () => null,
    piece: (index, { text, tokens }) => ({ index, text, logprobs: listed(tokens), finish_reason: null }),
    last: (index, reason) => ({ index, text: "", logprobs: null, finish_reason: reason }),
    whole: (index, { text, tokens, reason }) => ({ index, text, logprobs: listed(tokens), finish_reason: reason }),
  };
}

function tokenTeller(tokenizer: Tokenizer) {
  const bytesOf = tokenBytes(tokenizer);
  const decoder = new TextDecoder();
  return (id: number, logprob: number) => {
    const bytes = bytesOf(id);
    return { token: decoder.decode(Uint8Array.from(bytes)), logprob, bytes };
  };
}
