/** Prompts of text in, text out: the engine's tokens decoded as they come, cut at stop strings and at the end of a document. */
import { UserError } from "../errors";
import type { Asked } from "../generate/names";
import type { Sampling } from "../generate/sampling";
import type { Tokenizer } from "../text/tokenizer";
import type { OpenModel } from "./model";

export interface CompleteOptions extends Sampling {
  /** Special tokens in a prompt are the tokens that they name, and not plain text. */
  readonly special?: boolean;
  /** Text that ends an answer; it is not given out. */
  readonly stop?: readonly string[];
  /** Tokens that end an answer; they are not given out. */
  readonly stopIds?: readonly number[];
  /** Added to the logits of tokens. */
  readonly logitBias?: ReadonlyMap<number, number>;
  /** So many of the prompts, one behind the other, are samples of one; 1 if absent. */
  readonly samples?: number;
  /** What was asked for before, by the same: equal prompts go on to other random numbers. */
  readonly asked?: Asked;
  /** Keeps every token with its log-probability for the ending. */
  readonly logProbs?: boolean;
}

/** A piece of new text for one prompt. */
export interface Piece {
  readonly row: number;
  readonly text: string;
}

/** Why an answer ended, and what it cost. */
export interface Ending {
  readonly reason: "stop" | "length";
  readonly tokens: number;
  readonly logProbs?: readonly TokenLogProb[];
}

export interface TokenLogProb {
  readonly id: number;
  readonly token: string;
  /** The model's own, before penalties, bias and temperature. */
  readonly logProb: number;
}

/** The tokens of a prompt: an empty one begins a new document. */
export function promptIds(tokenizer: Tokenizer, prompt: string, special = false): number[] {
  const encoded = tokenizer.encode(prompt, { special });
  if (encoded.length) return encoded;
  if (tokenizer.endOfText !== null) return [tokenizer.endOfText];
  throw new UserError("the prompt is empty", { hint: "give a prompt of at least one character" });
}

/**
 * Continues every prompt, of text or of token ids, giving out text as soon as it is certain; between two tokens at least an empty piece,
 * so that who reads may do something else. Returns how each ended.
 */
export function* complete(
  { engine, tokenizer }: Pick<OpenModel, "engine" | "tokenizer">,
  prompts: readonly (string | readonly number[])[],
  options: CompleteOptions,
): Generator<Piece, Ending[]> {
  const stop = options.stop?.filter((text) => text !== "") ?? [];
  const ids = prompts.map((prompt) =>
    typeof prompt === "string" ? promptIds(tokenizer, prompt, options.special) : prompt,
  );
  const rows = ids.map((before) => ({
    // What begins a document has no text before it.
    stream: tokenizer.stream(before.length === 1 && before[0] === tokenizer.endOfText ? [] : before),
    held: "",
    stopped: false,
    cut: false,
    tokens: 0,
    logProbs: [] as TokenLogProb[],
  }));
  const last = new Set([...(options.stopIds ?? []), ...(tokenizer.endOfText === null ? [] : [tokenizer.endOfText])]);
  const onLogProb = (row: number, id: number, logProb: number) => {
    rows[row]!.logProbs.push({ id, token: tokenizer.token(id), logProb });
  };
  const waiting: Piece[] = [];
  const ends = (row: number, id: number): boolean => {
    const state = rows[row]!;
    state.tokens++;
    if (last.has(id)) {
      state.stopped = true;
      return true;
    }
    state.held += state.stream.push(id);
    const cut = firstStop(state.held, stop);
    if (cut !== null) {
      waiting.push({ row, text: state.held.slice(0, cut) });
      state.stopped = true;
      state.cut = true;
      return true;
    }
    const certain = state.held.length - possibleStart(state.held, stop);
    if (certain > 0) waiting.push({ row, text: state.held.slice(0, certain) });
    state.held = state.held.slice(certain);
    return false;
  };
  for (const _column of engine.generate(ids, { ...options, ends, ...(options.logProbs && { onLogProb }) })) {
    yield* waiting.length ? waiting : [NOTHING];
    waiting.length = 0;
  }
  yield* waiting;
  for (const [row, { cut, held, stream }] of rows.entries()) {
    const rest = cut ? "" : held + stream.end();
    if (rest) yield { row, text: rest };
  }
  return rows.map(({ stopped, tokens, logProbs }) => ({
    reason: stopped ? "stop" : "length",
    tokens,
    ...(options.logProbs && { logProbs }),
  }));
}

const NOTHING: Piece = { row: 0, text: "" };

/** Where the first stop string begins, or null. */
function firstStop(text: string, stop: readonly string[]): number | null {
  const found = stop.map((s) => text.indexOf(s)).filter((at) => at >= 0);
  return found.length ? Math.min(...found) : null;
}

/** How many characters at the end may be the beginning of a stop string. */
function possibleStart(text: string, stop: readonly string[]): number {
  let most = 0;
  for (const s of stop) {
    for (let length = Math.min(s.length - 1, text.length); length > most; length--) {
      if (text.endsWith(s.slice(0, length))) most = length;
    }
  }
  return most;
}
