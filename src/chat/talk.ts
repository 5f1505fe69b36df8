/**
 * A conversation as it is kept, and as much of it as its model sees: the oldest turns are left out where the context is full, and are
 * never deleted.
 */
import { promptIds } from "../app/complete";
import type { Speaker } from "../app/speaker";
import { UserError } from "../errors";
import type { Message } from "../text/message";

export interface Talk {
  readonly system: string;
  readonly messages: readonly Message[];
  /** Messages at the beginning that the model does not see any more. */
  readonly unseen: number;
}

/** How answers are drawn where nothing else is said. */
export const answering = { temperature: 0.7, topK: 40, topP: 0.9, maxTokens: 150 } as const;

export const emptyTalk: Talk = { system: "", messages: [], unseen: 0 };

type Voice = Pick<Speaker, "tokenizer" | "template" | "context">;

/** What the model is to go on from. */
export interface Fitted {
  readonly talk: Talk;
  readonly ids: readonly number[];
}

/** What the model sees. */
export function seen({ system, messages, unseen }: Talk): Message[] {
  const turns = messages.slice(unseen);
  return system ? [{ role: "system", content: system }, ...turns] : [...turns];
}

/**
 * Tokens of what the model sees. `onward`: the last message is an answer that goes on. A model without a template continues the text of
 * all that was said.
 */
export function idsOf({ tokenizer, template }: Voice, talk: Talk, onward = false): number[] {
  const messages = seen(talk);
  if (template) return onward ? template.unfinished(messages) : template.prompt(messages);
  return promptIds(tokenizer, messages.map(({ content }) => content).join(""));
}

/**
 * Leaves out the oldest turns where an answer of `room` tokens would not fit any more: as many as it takes for half of the context to be
 * free, so that it is long until the next time. Throws a UserError where the last message alone is too long.
 */
export function fitted(voice: Voice, talk: Talk, room: number, onward = false): Fitted {
  const { context } = voice;
  const half = context >> 1;
  let ids = idsOf(voice, talk, onward);
  if (ids.length + Math.min(room, half) <= context) return { talk, ids };
  let unseen = talk.unseen;
  while (ids.length > half) {
    const next = nextTurn(talk, unseen);
    if (next === null) break;
    unseen = next;
    ids = idsOf(voice, { ...talk, unseen }, onward);
  }
  if (!voice.template && ids.length > half) ids = ids.slice(-half);
  if (ids.length >= context)
    throw new UserError(
      `this message has ${ids.length} tokens with what belongs to it, and the context is ${context}`,
      {
        hint: "shorten it, or /system",
      },
    );
  return { talk: { ...talk, unseen }, ids };
}

/** Where the turn after the first that is seen begins; null where there is none. */
function nextTurn({ messages }: Talk, unseen: number): number | null {
  const next = messages.findIndex(({ role }, at) => at > unseen && role === "user");
  return next < 0 ? null : next;
}

/** The last answer, or null where the last message is none. */
export function lastAnswer({ messages }: Talk): Message | null {
  const last = messages.at(-1);
  return last?.role === "assistant" ? last : null;
}

/** Without the last answer. */
export function withoutAnswer(talk: Talk): Talk {
  return lastAnswer(talk) ? { ...talk, messages: talk.messages.slice(0, -1) } : talk;
}

/** Without the last turn: its question, and its answer. */
export function withoutTurn(talk: Talk): Talk {
  const at = talk.messages.findLastIndex(({ role }) => role === "user");
  const messages = talk.messages.slice(0, Math.max(0, at));
  return { ...talk, messages, unseen: Math.min(talk.unseen, messages.length) };
}

export function withMessage(talk: Talk, role: Message["role"], content: string): Talk {
  return { ...talk, messages: [...talk.messages, { role, content }] };
}
