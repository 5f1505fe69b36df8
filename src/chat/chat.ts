/** A chat: what was said, what is asked for, and how an answer is written while it is shown. */
import { type OpenSpeaker, say } from "../app/speaker";
import { UserError } from "../errors";
import type { Sampling } from "../generate/sampling";
import { runner } from "../generate/scheduler";
import { commonPrefix } from "../generate/stream";
import type { Reporter } from "../log/console";
import { endsOf } from "../text/answer";
import { tick } from "../tick";
import { newChatPath, writeChat } from "./saved";
import { emptyTalk, type Fitted, fitted, idsOf, lastAnswer, type Talk, withMessage, withoutAnswer } from "./talk";
import type { Talker } from "./terminal";

export interface Chat {
  speaker: OpenSpeaker;
  settings: Sampling;
  talk: Talk;
  /** What the conversation was before each change. */
  readonly before: Talk[];
  /** Where it saves itself. */
  path: string;
  /** Answers that were asked for: each has random numbers of its own. */
  answers: number;
  /** The last answer as its tokens were, for going on with it: the words alone may be cut elsewhere. */
  written: { readonly talk: Talk; readonly ids: readonly number[]; readonly text: string } | null;
  /** The last answer was stopped. */
  stopped: boolean;
  /** Copies that were saved under names. */
  readonly copies: Set<string>;
  readonly talker: Talker;
  readonly console: Reporter;
  /** Shows text of an answer. */
  readonly show: (text: string) => void;
  /** Shows what is said of an answer. */
  readonly remark: (text: string) => void;
  /** Opens another model by what names it. */
  readonly open: (name: string) => Promise<OpenSpeaker>;
}

export function newChat(
  given: Omit<Chat, "talk" | "before" | "path" | "answers" | "written" | "stopped" | "copies">,
): Chat {
  return {
    ...given,
    talk: emptyTalk,
    before: [],
    path: newChatPath(),
    answers: 0,
    written: null,
    stopped: false,
    copies: new Set(),
  };
}

/** Changes the conversation, so that /undo brings back what it was. */
export function change(chat: Chat, talk: Talk): void {
  chat.before.push(chat.talk);
  chat.talk = talk;
}

/** Asks, and keeps question and answer. Without a word of an answer the question is taken back. */
export async function askFor(chat: Chat, question: string): Promise<boolean> {
  const before = chat.talk;
  change(chat, withMessage(before, "user", question));
  try {
    const written = await write(chat);
    if (written !== null) return true;
    chat.remark("stopped before the first word: the question is taken back");
  } catch (error) {
    restore(chat);
    throw error;
  }
  restore(chat);
  return false;
}

function restore(chat: Chat): void {
  chat.talk = chat.before.pop()!;
}

/** Writes the answer to the last message, or goes on with it. Null where it was stopped before the first word. */
export async function write(chat: Chat, onward = false): Promise<string | null> {
  const { talk, ids } = onward ? unfinished(chat) : fit(chat, chat.talk);
  const earlier = onward ? (chat.written?.talk === chat.talk ? chat.written.text : lastAnswer(talk)!.content) : "";
  const answer = await streamed(chat, ids, onward);
  if (answer === null) return null;
  const raw = earlier + answer.text;
  const content = chat.speaker.template ? raw.trim() : raw;
  chat.talk = withMessage(onward ? withoutAnswer(talk) : talk, "assistant", content);
  chat.written = { talk: chat.talk, ids: [...ids, ...answer.ids], text: raw };
  save(chat);
  return content;
}

/** The answer to something that does not become part of the conversation. */
export async function writeAside(chat: Chat, question: string): Promise<string | null> {
  const { ids } = fit(chat, withMessage(chat.talk, "user", question));
  const answer = await streamed(chat, ids, false);
  return answer === null ? null : answer.text.trim();
}

function fit(chat: Chat, talk: Talk, onward = false): Fitted {
  const { messages } = talk;
  const made = fitted(chat.speaker, talk, chat.settings.maxTokens, onward);
  const left = made.talk.unseen - talk.unseen;
  if (left > 0) {
    const what = left === 1 ? "message is" : `${left} messages are`;
    chat.console.note(
      `the context is full: the oldest ${what} left out of what the model sees (${messages.length - made.talk.unseen} are in view)`,
    );
  }
  return onward ? made : { ...made, ids: asWritten(chat, made) };
}

/**
 * The same with the tokens that were written in the place of those that their text would be: a text may be cut into tokens in several ways,
 * and the cache holds this one. So a turn feeds nothing but what is new.
 */
function asWritten({ written, speaker, settings }: Chat, { talk, ids }: Fitted): readonly number[] {
  if (!written || written.text !== written.text.trimEnd()) return ids;
  const { messages, system, unseen } = written.talk;
  const goesOn =
    talk.messages.length === messages.length + 1 &&
    talk.system === system &&
    talk.unseen === unseen &&
    messages.every((message, at) => message === talk.messages[at]);
  if (!goesOn) return ids;
  const before = idsOf(speaker, written.talk, true);
  if (commonPrefix(before, ids) < before.length) return ids;
  const own = [...written.ids, ...ids.slice(before.length)];
  return own.length + settings.maxTokens <= speaker.context ? own : ids;
}

/** Where the last answer ended, by its own tokens where they are known and there is room behind them. */
function unfinished(chat: Chat): Fitted {
  const { talk, written, settings, speaker } = chat;
  if (written?.talk === talk && written.ids.length + settings.maxTokens <= speaker.context)
    return { talk, ids: written.ids };
  return fit(chat, talk, true);
}

interface Streamed {
  readonly text: string;
  /** Without a token that ended it. */
  readonly ids: readonly number[];
}

async function streamed(chat: Chat, ids: readonly number[], onward: boolean): Promise<Streamed | null> {
  const { speaker, settings, talker } = chat;
  const { template, tokenizer, queue, context } = speaker;
  const maxTokens = Math.min(settings.maxTokens, context - ids.length);
  const ends = template ? endsOf(tokenizer, template) : { stop: [], stopIds: new Set<number>() };
  using heard = talker.listen();
  const steps = runner([queue], tick);
  const start = performance.now();
  const done = Promise.withResolvers<"stop" | "length" | "stopped">();
  let first = 0;
  let text = "";
  let begun = onward || !template;
  let drawn: readonly number[] = [];
  let tokens = 0;
  const job = say(
    speaker,
    { ids, sampling: { ...settings, maxTokens }, name: chat.answers++, ends },
    {
      token() {
        tokens++;
        first ||= performance.now();
      },
      text(piece) {
        text += piece;
        chat.show(begun ? piece : piece.trimStart());
        begun ||= piece.trim() !== "";
      },
      ended(ended) {
        drawn = ended.ids;
        done.resolve(ended.reason);
      },
      failed: done.reject,
    },
  );
  const stop = () => {
    job?.cancel();
    done.resolve("stopped");
  };
  heard.signal.addEventListener("abort", stop);
  if (heard.signal.aborted) stop();
  steps.wake();
  let reason: "stop" | "length" | "stopped";
  try {
    reason = await done.promise;
  } finally {
    heard.signal.removeEventListener("abort", stop);
    if (text) chat.show("\n");
  }
  chat.stopped = reason === "stopped";
  if (reason === "stopped" && text.trim() === "") return null;
  // Of one that was stopped the tokens that were shown are its text's.
  const own = reason === "stopped" ? tokenizer.encode(text) : reason === "stop" ? drawn.slice(0, -1) : drawn;
  const rate = tokens > 1 ? `, ${((1000 * (tokens - 1)) / (performance.now() - first)).toFixed(1)} tok/s` : "";
  const used = ids.length + tokens;
  const how =
    reason === "stopped"
      ? "stopped, "
      : reason === "length" && used >= context
        ? "the context is full, "
        : reason === "length"
          ? "cut off (/continue goes on), "
          : "";
  const words = text.trim() === "" ? "no words, " : "";
  chat.remark(
    `${how}${words}${tokens} tokens${rate}, first after ${((first - start) / 1000).toFixed(2)} s, context ${Math.round((100 * used) / context)}% of ${context}`,
  );
  return { text, ids: own };
}

/** Keeps the conversation on disk. A disk that will not have it ends no chat. */
export function save(chat: Chat): void {
  if (chat.talk.messages.length === 0) return;
  try {
    writeChat(chat.path, savedOf(chat));
  } catch (error) {
    chat.console.note(`this chat could not be saved: ${error instanceof Error ? error.message : String(error)}`);
  }
}

export function savedOf({ talk, settings, speaker }: Chat) {
  return { talk, settings, model: speaker.given };
}

/** A line of the user's: a command, or a message. What is wrong with it is said, and never ends the chat. */
export async function guarded(chat: Chat, act: () => Promise<void> | void): Promise<void> {
  try {
    await act();
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    chat.console.note(`error: ${error.message}${error.hint ? `\nhint: ${error.hint}` : ""}`);
  }
}
