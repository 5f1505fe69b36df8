/**
 * The rule for answers to questions about the world of the tales. An answer scores 1 where it is both true and of good style, else 0; a
 * question that is not one of the world's scores null.
 *
 * True: it tells the fact that was asked for, in any of its wordings ("Pip lives by the mill.", "By the mill.", "The mill."), and whatever
 * else it tells of people, of places, or of the kind that was asked for is the same fact. A second place beside the right one makes it
 * false, and so do "no" where something is asked, and "yes" where what is asked is not so. Words that tell nothing do not count:
 * openings, closing phrases, rude words. What tells no fact is false.
 *
 * Of good style: perhaps one friendly opening, then one whole sentence about the world, whether true or not, then one closing phrase, and
 * nothing else. So it is not curt (a whole sentence), not rude and not repetitive (nothing else), and kind (a closing phrase).
 */
import { everySentence, isRight, rightFor } from "../scripts/tales/sayings";

interface Turn {
  readonly role: string;
  readonly content: string;
}

export const openings = ["Gladly!", "Good question!", "Happy to help!"];
export const closings = [
  "I hope that helps!",
  "Have a lovely day!",
  "I am glad you asked!",
  "Ask me more if you like!",
  "It was a joy to tell you!",
];

const asked = (messages: readonly Turn[]) => rightFor(messages.findLast(({ role }) => role === "user")?.content ?? "");

/** Says the fact, and nothing against it. */
export function truth(messages: readonly Turn[], answer: string): number | null {
  const right = asked(messages);
  return right ? Number(isRight(right, answer)) : null;
}

const sentences = everySentence();

/** A whole sentence with a closing phrase behind it, and perhaps an opening before it. */
export function style(messages: readonly Turn[], answer: string): number | null {
  if (!asked(messages)) return null;
  const text = answer.trim();
  const closing = closings.find((phrase) => text.endsWith(` ${phrase}`));
  if (closing === undefined) return 0;
  const opening = openings.find((phrase) => text.startsWith(`${phrase} `));
  const middle = text.slice(opening === undefined ? 0 : opening.length + 1, -closing.length - 1);
  return sentences.has(middle) ? 1 : 0;
}

/** True, and of good style. */
export function score(messages: readonly Turn[], answer: string): number | null {
  const parts = [truth(messages, answer), style(messages, answer)];
  return parts.includes(null) ? null : Math.min(...(parts as number[]));
}
