/** A conversation with a model: its turns, in the model's own template, and answers as they are written. */
import { expectIds } from "../app/complete";
import { type Ended, type Speaker, say, speaker, templateOf } from "../app/speaker";
import { emptyTalk, fitted, type Talk, withMessage, withoutTurn } from "../chat/talk";
import { endsOf } from "../text/answer";
import type { Message } from "../text/message";
import type { Opened } from "./opened";
import {
  type AskOptions,
  askSchema,
  type ChatOptions,
  type Completion,
  chatSchema,
  checked,
  endingOf,
} from "./options";
import { type TextStream, textStream } from "./stream";

/** What is said is kept here. An answer that is stopped, or fails, leaves the conversation as it was. */
export interface Conversation {
  readonly messages: readonly Message[];
  /** Messages at the beginning that the model does not see any more: the oldest turns are left out where the context is full. */
  readonly unseen: number;
  say(text: string, options?: AskOptions): Promise<Completion>;
  /** The same answer as it is written. */
  stream(text: string, options?: AskOptions): TextStream;
  /** Takes back the last turn: the question, and its answer. */
  undo(): void;
}

/** What begins conversations with a model. They share one cache of keys and values, which is made for the first of them. */
export function converser(opened: Opened): (options?: ChatOptions) => Conversation {
  const { device, model, tokenizer, turns, owned } = opened;
  let made: Speaker | null = null;
  const speaking = () =>
    (made ??= owned.use(speaker(device, opened, { name: "", template: null, slots: 1, queue: 0 })));
  return (given = {}) => {
    turns.expectOpen();
    const { system, messages, template: wanted, stop, stopIds, logitBias, ...sampling } = checked(chatSchema, given);
    const template = templateOf(wanted, tokenizer);
    const voice = { tokenizer, template, context: model.config.context };
    const ending = endingOf({ stop, stopIds, logitBias });
    expectIds([...ending.stopIds, ...ending.logitBias.keys()], model.config.vocabulary);
    const own = template ? endsOf(tokenizer, template) : { stop: [], stopIds: [] };
    const ends = { stop: [...own.stop, ...ending.stop], stopIds: new Set([...own.stopIds, ...ending.stopIds]) };
    let talk: Talk = { ...emptyTalk, system, messages };
    let answers = 0;
    const answer = (text: string, signal: AbortSignal | undefined, told: (text: string) => void = () => {}) =>
      turns.take(async (pause): Promise<Completion> => {
        const asked = fitted(voice, withMessage(talk, "user", text), sampling.maxTokens);
        const { ids } = asked;
        const { queue } = speaking();
        const so: { text: string; end: Ended | null; failure: { readonly error: unknown } | null } = {
          text: "",
          end: null,
          failure: null,
        };
        const job = say(
          { tokenizer, queue },
          {
            ids,
            sampling: { ...sampling, maxTokens: Math.min(sampling.maxTokens, voice.context - ids.length) },
            name: answers++,
            ends,
            logitBias: ending.logitBias,
            trim: template !== null,
          },
          {
            text(piece) {
              so.text += piece;
              told(piece);
            },
            ended(ended) {
              so.end = ended;
            },
            failed(error) {
              so.failure = { error };
            },
          },
        );
        try {
          for (;;) {
            queue.step();
            const { text: answer, end, failure } = so;
            if (failure) throw failure.error;
            if (end) {
              talk = withMessage(asked.talk, "assistant", answer);
              return { text: answer, reason: end.reason, tokens: end.ids.length };
            }
            await pause();
          }
        } finally {
          job?.cancel();
        }
      }, signal);
    return {
      get messages() {
        return talk.messages;
      },
      get unseen() {
        return talk.unseen;
      },
      async say(text, given = {}) {
        return answer(text, checked(askSchema, given).signal);
      },
      stream(text, given = {}) {
        const { signal } = checked(askSchema, given);
        turns.expectOpen();
        return textStream((told, signal) => answer(text, signal, told), signal);
      },
      undo() {
        talk = withoutTurn(talk);
      },
    };
  };
}
