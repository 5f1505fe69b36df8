/** The figures that are told of a measurement, each with how it was measured. */
import type { Answer } from "./answers";
import { exponential } from "./estimate";
import type { PerplexityOptions, Scored } from "./perplexity";

export interface TextFigures {
  readonly method: string;
  /** Tokens that were scored. */
  readonly tokens: number;
  readonly windows: number;
  /** Nats a token. */
  readonly loss: number;
  /** Of the mean over tokens, drawn by whole windows; of the perplexity by the delta method. Null for a single window. */
  readonly loss_stderr: number | null;
  readonly perplexity: number;
  readonly perplexity_stderr: number | null;
  /** Does not depend on the tokenizer, nor does perplexity a word. */
  readonly bits_per_byte: number;
  readonly word_perplexity: number;
  /** Between white space. */
  readonly words: number;
}

/** Of a text that was scored as a whole. */
export function textFigures(
  { nats, tokens, windows, stderr }: Scored,
  text: string,
  { context, stride }: Pick<PerplexityOptions, "context" | "stride">,
): TextFigures {
  const words = text.split(/\s+/).filter(Boolean).length;
  const perplexity = exponential({ value: nats / tokens, stderr });
  return {
    method:
      stride === context
        ? `disjoint windows of ${context} tokens`
        : `sliding window of ${context} tokens, stride ${stride}`,
    tokens,
    windows,
    loss: nats / tokens,
    loss_stderr: stderr,
    perplexity: perplexity.value,
    perplexity_stderr: perplexity.stderr,
    bits_per_byte: nats / Math.LN2 / Buffer.byteLength(text),
    word_perplexity: Math.exp(nats / words),
    words,
  };
}

export interface AnswerFigures {
  readonly method: string;
  readonly conversations: number;
  readonly answers: number;
  /** Share of the answers that are those of the data. */
  readonly exact_match: number;
  /** Share of the answers that ended by themselves. */
  readonly ended: number;
  /** Share of the conversations of which every turn was answered, and ended by itself. */
  readonly in_form: number;
}

/** Of the answers of each conversation. */
export function answerFigures(
  conversations: readonly (readonly Answer[])[],
  { ownHistory }: { readonly ownHistory: boolean },
): AnswerFigures {
  const all = conversations.flat();
  const share = (count: number, of: number) => count / Math.max(1, of);
  const inForm = conversations.filter((turns) => turns.every(({ ended, answer }) => ended && answer !== ""));
  return {
    method: `greedy, ${ownHistory ? "after the model's own answers" : "after the data's answers"}, compared without white space at both ends`,
    conversations: conversations.length,
    answers: all.length,
    exact_match: share(all.filter(({ exact }) => exact).length, all.length),
    ended: share(all.filter(({ ended }) => ended).length, all.length),
    in_form: share(inForm.length, conversations.length),
  };
}
