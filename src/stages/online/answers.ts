/** Answers of the policy, and how they are kept in a checkpoint. */
import type { Example } from "../../data/examples";
import type { PromptExample } from "../../data/prompts";
import type { Json } from "../../train/stage";
import type { Score } from "./advantages";

/** Of each token of an answer: its log-probability as it was drawn and under the reference, what it is worth, what a critic expected and should have. */
export type TokenField = "old" | "reference" | "advantages" | "values" | "returns";

export interface Answer {
  /** Which of the prompts it answers. */
  readonly prompt: number;
  /** Prompt and answer, the end token included; the answer's tokens are trained. */
  readonly example: Example;
  /** Its words. */
  readonly text: string;
  /** By an end of its own, and not for want of room. */
  readonly ended: boolean;
  /** What each reward gave it. */
  readonly rewards: readonly Score[];
  /** Whether it is learned from. */
  readonly counts: boolean;
  readonly tokens: Readonly<Partial<Record<TokenField, Float32Array>>>;
}

/** A prompt with its answer, which is trained. `ids`: of the answer alone. */
export function answered({ ids: prompt, where }: PromptExample, ids: readonly number[]): Example {
  const whole = new Uint32Array(prompt.length + ids.length);
  whole.set(prompt);
  whole.set(ids, prompt.length);
  const trained = new Uint8Array(whole.length).fill(1, prompt.length);
  return { ids: whole, trained, targets: ids.length, where };
}

/** A token's number stands before it where it is read: `tokens` of an answer, the prompt left out. */
export function answerIds({ example: { ids, targets } }: Pick<Answer, "example">): Uint32Array {
  return ids.subarray(ids.length - targets);
}

interface Saved {
  readonly prompt: number;
  readonly ids: string;
  readonly text: string;
  readonly ended: boolean;
  readonly rewards: readonly Score[];
  readonly counts: boolean;
  readonly tokens: Readonly<Record<string, string>>;
}

export function savedAnswers(answers: readonly Answer[]): Json {
  return answers.map((answer) => ({
    prompt: answer.prompt,
    ids: base64(answerIds(answer).slice()),
    text: answer.text,
    ended: answer.ended,
    rewards: answer.rewards,
    counts: answer.counts,
    tokens: Object.fromEntries(Object.entries(answer.tokens).map(([name, values]) => [name, base64(values)])),
  }));
}

export function loadedAnswers(json: Json, prompts: readonly PromptExample[]): Answer[] {
  return (json as unknown as readonly Saved[]).map(({ ids, tokens, ...saved }) => ({
    ...saved,
    example: answered(prompts[saved.prompt]!, [...new Uint32Array(bytesOf(ids))]),
    tokens: Object.fromEntries(Object.entries(tokens).map(([name, text]) => [name, new Float32Array(bytesOf(text))])),
  }));
}

function base64(values: Uint32Array | Float32Array): string {
  return Buffer.from(values.buffer, values.byteOffset, values.byteLength).toString("base64");
}

function bytesOf(text: string): ArrayBuffer {
  const { buffer, byteOffset, byteLength } = Buffer.from(text, "base64");
  return (buffer as ArrayBuffer).slice(byteOffset, byteOffset + byteLength);
}
