/** Prompts of text in, text out: the engine's tokens decoded as they come, cut at stop strings and at the end of a document. */
import { UserError } from "../errors";
import type { Asked } from "../generate/names";
import { type Likely, likeliest } from "../generate/probabilities";
import type { Sampling } from "../generate/sampling";
import type { AnswerEnds } from "../text/answer";
import { textReader } from "../text/reader";
import type { Tokenizer } from "../text/tokenizer";
import { tick } from "../tick";
import type { OpenModel } from "./model";

/** More would be infinite at a low temperature. */
export const MOST_BIAS = 1e6;

export interface CompleteOptions extends Sampling {
  /** Special tokens in a prompt are the tokens that they name, and not plain text. */
  readonly special?: boolean;
  /** Text that ends an answer; it is not given out. */
  readonly stop?: readonly string[];
  /** Tokens that end an answer; they are not given out. */
  readonly stopIds?: readonly number[];
  /** Added to the logits of tokens: MOST_BIAS at most. */
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
  const ids = prompts.map((prompt) =>
    typeof prompt === "string" ? promptIds(tokenizer, prompt, options.special) : prompt,
  );
  const ends = { stop: options.stop ?? [], stopIds: new Set(options.stopIds) };
  const rows = ids.map((before) => ({
    reader: textReader(tokenizer, before, ends),
    tokens: 0,
    logProbs: [] as TokenLogProb[],
  }));
  const onLogProb = (row: number, id: number, logProb: number) => {
    rows[row]!.logProbs.push({ id, token: tokenizer.token(id), logProb });
  };
  const waiting: Piece[] = [];
  const endsWith = (row: number, id: number): boolean => {
    const state = rows[row]!;
    state.tokens++;
    const text = state.reader.push(id);
    if (text) waiting.push({ row, text });
    return state.reader.ended;
  };
  for (const _column of engine.generate(ids, { ...options, ends: endsWith, ...(options.logProbs && { onLogProb }) })) {
    yield* waiting.length ? waiting : [NOTHING];
    waiting.length = 0;
  }
  yield* waiting;
  for (const [row, { reader }] of rows.entries()) {
    const rest = reader.end();
    if (rest) yield { row, text: rest };
  }
  return rows.map(({ reader, tokens, logProbs }) => ({
    reason: reader.ended ? "stop" : "length",
    tokens,
    ...(options.logProbs && { logProbs }),
  }));
}

const NOTHING: Piece = { row: 0, text: "" };

/** What was written after a prompt, and how it ended. */
export interface Completed extends Ending {
  readonly text: string;
}

/** What follows each prompt, whole. `pause` is told each piece, and waited for: what it throws ends all. */
export async function completeAll(
  opened: Pick<OpenModel, "engine" | "tokenizer">,
  prompts: readonly (readonly number[])[],
  options: CompleteOptions,
  pause: (piece: Piece) => Promise<void> = tick,
): Promise<Completed[]> {
  if (prompts.length === 0) return [];
  const texts = prompts.map(() => "");
  const pieces = complete(opened, prompts, options);
  let step = pieces.next();
  for (; !step.done; step = pieces.next()) {
    texts[step.value.row] += step.value.text;
    await pause(step.value);
  }
  const endings = step.value;
  return texts.map((text, i) => ({ text, ...endings[i]! }));
}

/** What ends an answer ends the text too. */
export function endingWith({ ids, text }: AnswerEnds, options: CompleteOptions): CompleteOptions {
  return {
    ...options,
    stop: [...(options.stop ?? []), ...(text === null ? [] : [text])],
    stopIds: [...(options.stopIds ?? []), ...ids],
  };
}

/** Throws a UserError where one of them is no token of the model. */
export function expectIds(ids: readonly number[], vocabulary: number): void {
  const bad = ids.find((id) => !(Number.isInteger(id) && id >= 0 && id < vocabulary));
  if (bad === undefined) return;
  throw new UserError(`${bad} is not a token id`, { hint: `ids are whole numbers below ${vocabulary}`, exitCode: 2 });
}

export interface NextToken extends Likely {
  /** What it adds to the text of those before it. */
  readonly text: string;
}

/** The likeliest tokens behind a prompt, so many, the likeliest first. */
export function nextTokens(
  { engine, tokenizer }: Pick<OpenModel, "engine" | "tokenizer">,
  prompt: readonly number[],
  count: number,
): NextToken[] {
  return likeliest(engine.nextLogits(prompt), count).map((found) => {
    const stream = tokenizer.stream(prompt);
    return { ...found, text: stream.push(found.id) + stream.end() };
  });
}
