/** How often a model's greedy answer is the expected one, word for word, and how often it ends its answer by itself. */
import type { Engine } from "../generate/engine";
import { sampling } from "../generate/sampling";
import { answerReader } from "../text/answer";
import type { ChatTemplate, Message } from "../text/template";
import type { Tokenizer } from "../text/tokenizer";

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
  readonly onProgress?: (done: number, total: number) => void;
}

export interface Answering {
  /** Tokens that the model sees: a question that does not fit is not answered. */
  readonly context: number;
  readonly engine: Engine;
  readonly tokenizer: Tokenizer;
  readonly template: ChatTemplate;
}

/** Every answer of every conversation, conversation by conversation. */
export function answerAll(
  on: Answering,
  conversations: readonly (readonly Message[])[],
  { batch, maxTokens, ownHistory, onProgress = () => {} }: AnswerOptions,
): Answer[][] {
  const answers: Answer[][] = conversations.map(() => []);
  /** Where the assistant speaks. */
  const places = conversations.map((messages) =>
    messages.flatMap(({ role }, at) => (role === "assistant" ? [at] : [])),
  );
  const turns = places.reduce((most, { length }) => Math.max(most, length), 0);
  const total = places.reduce((sum, { length }) => sum + length, 0);
  let done = 0;
  for (let turn = 0; turn < turns; turn++) {
    const open = conversations.flatMap((messages, i) => {
      const at = places[i]![turn];
      return at === undefined ? [] : [{ i, at, messages }];
    });
    for (let from = 0; from < open.length; from += batch) {
      const part = open.slice(from, from + batch);
      const prompts = part.map(({ i, at, messages }) => {
        let own = 0;
        const before = messages
          .slice(0, at)
          .map((message) =>
            ownHistory && message.role === "assistant" ? { ...message, content: answers[i]![own++]!.answer } : message,
          );
        return on.template.prompt(before);
      });
      // A part that is not full is filled up, so that one program serves all.
      const filled = Array.from({ length: batch }, (_, row) => prompts[row % prompts.length]!);
      const written = write(on, filled, maxTokens);
      part.forEach(({ i, at, messages }, row) => {
        const { text, ended } = written[row]!;
        const expected = messages[at]!.content.trim();
        answers[i]!.push({
          question: messages[at - 1]?.content ?? "",
          expected,
          answer: text,
          exact: text === expected,
          ended,
        });
      });
      done += part.length;
      onProgress(done, total);
    }
  }
  return answers;
}

function write({ engine, tokenizer, template, context }: Answering, prompts: readonly number[][], maxTokens: number) {
  const rows = prompts.map(() => answerReader(tokenizer, template));
  const ends = (row: number, id: number) => rows[row]!.push(id);
  const fitting = prompts.map((prompt) => (prompt.length < context ? prompt : prompt.slice(0, 1)));
  for (const _ of engine.generate(fitting, { ...sampling.parse({ temperature: 0, maxTokens }), ends }));
  return rows.map((answer, row) =>
    prompts[row]!.length < context ? { text: answer.text(), ended: answer.ended } : { text: "", ended: false },
  );
}
