/** What a model answers, how often that is the expected answer, word for word, and how often it ends its answer by itself. */
import type { Conversation } from "../data/turns";
import type { Engine } from "../generate/engine";
import { type Sampling, sampling } from "../generate/sampling";
import { answerReader } from "../text/answer";
import type { ChatTemplate } from "../text/template";
import type { Tokenizer } from "../text/tokenizer";
import { ticker } from "../tick";

export interface Answer {
  readonly question: string;
  readonly expected: string;
  readonly answer: string;
  readonly exact: boolean;
  /** With its end token, and not because it had no room left. */
  readonly ended: boolean;
}

export interface AnswerOptions {
  /** Conversations that run together. */
  readonly batch: number;
  readonly maxTokens: number;
  /** Later turns follow the model's own answers, and not those of the data. */
  readonly ownHistory: boolean;
  /** Greedy if absent. Equal prompts are sampled by random numbers of their own. */
  readonly sampled?: Pick<Sampling, "temperature" | "seed"> | undefined;
  readonly onProgress?: (done: number, total: number) => void;
}

export interface Answering {
  /** Tokens that the model sees: a question that does not fit is not answered. */
  readonly context: number;
  readonly engine: Engine;
  readonly tokenizer: Tokenizer;
  readonly template: ChatTemplate;
}

/** A conversation, and the places of answers in it that are there to be read only. */
export type Asked = Pick<Conversation, "messages" | "unlearned">;

/** Where the model is to answer. */
export function asked({ messages, unlearned = [] }: Asked): number[] {
  return messages.flatMap(({ role }, at) => (role === "assistant" && !unlearned.includes(at) ? [at] : []));
}

/** Every answer of every conversation, conversation by conversation. */
export async function answerAll(
  on: Answering,
  conversations: readonly Asked[],
  { batch, maxTokens, ownHistory, sampled = { temperature: 0, seed: 0 }, onProgress = () => {} }: AnswerOptions,
): Promise<Answer[][]> {
  const answers: Answer[][] = conversations.map(() => []);
  const places = conversations.map(asked);
  const turns = places.reduce((most, { length }) => Math.max(most, length), 0);
  const total = places.reduce((sum, { length }) => sum + length, 0);
  let done = 0;
  for (let turn = 0; turn < turns; turn++) {
    const open = conversations.flatMap(({ messages }, i) => {
      const at = places[i]![turn];
      return at === undefined ? [] : [{ i, at, messages }];
    });
    const prompts = open.map(({ i, at, messages }) => {
      const before = messages.slice(0, at).map((message, place) => {
        const own = ownHistory ? answers[i]![places[i]!.indexOf(place)] : undefined;
        return own ? { ...message, content: own.answer } : message;
      });
      return on.template.prompt(before);
    });
    for await (const { which, text, ended } of write(on, prompts, { batch, maxTokens, sampled })) {
      const { i, at, messages } = open[which]!;
      const expected = messages[at]!.content.trim();
      answers[i]!.push({
        question: messages[at - 1]?.content ?? "",
        expected,
        answer: text,
        exact: text === expected,
        ended,
      });
      onProgress(++done, total);
    }
  }
  return answers;
}

/** The answer to each prompt, in the order of their ends. One that does not fit is not answered. */
async function* write(
  { engine, tokenizer, template, context }: Answering,
  prompts: readonly number[][],
  { batch, maxTokens, sampled }: Required<Pick<AnswerOptions, "batch" | "maxTokens" | "sampled">>,
) {
  const fitting: number[] = [];
  for (const [which, prompt] of prompts.entries()) {
    if (prompt.length < context) fitting.push(which);
    else yield { which, text: "", ended: false };
  }
  const readers = fitting.map((which) => answerReader(tokenizer, template, prompts[which]!));
  const options = {
    ...sampling.parse({ ...sampled, maxTokens }),
    together: batch,
    slide: true,
    ends: (index: number, id: number) => readers[index]!.push(id),
  };
  const given = fitting.map((which) => prompts[which]!);
  const pause = ticker();
  for (const finished of engine.rolloutSteps(given, options)) {
    await pause();
    for (const { index } of finished)
      yield { which: fitting[index]!, text: readers[index]!.text(), ended: readers[index]!.ended };
  }
}
