/**
 * Rules for answers to the tasks whose prompts are in this folder. Each reads what was asked for from the fields of the record, and is null
 * where the record does not have them. An empty answer scores 0 by all of them.
 */

interface Turn {
  readonly role: string;
  readonly content: string;
}

type Columns = Readonly<Record<string, unknown>>;

/** Without it, nothing is asked for. */
const text = (value: unknown): string | null =>
  typeof value === "string" && value.trim() !== "" ? value.trim() : null;

/** 1 where the whole answer is one <a>...</a> and what is inside is the right answer, 0.2 where only the form is right. */
export function tagged(_messages: readonly Turn[], answer: string, columns: Columns): number | null {
  const right = text(columns.answer);
  if (right === null || columns.tag !== "a") return null;
  const inside = answer.trim().match(/^<a>(.*)<\/a>$/s)?.[1];
  if (inside === undefined || inside.trim() === "" || /<\/?a>/.test(inside)) return 0;
  return inside.trim() === right ? 1 : 0.2;
}

/** Pieces between spaces that have a letter or a digit: a dash alone is no word. */
const wordsOf = (answer: string) => answer.split(/\s+/).filter((piece) => /[\p{L}\p{N}]/u.test(piece));

/** How near the number of words is to the one that was asked for: 1 less what it is off, as a share of that number, and no less than 0. */
export function length(_messages: readonly Turn[], answer: string, { words }: Columns): number | null {
  if (typeof words !== "number" || !(words > 0)) return null;
  return Math.max(0, 1 - Math.abs(wordsOf(answer).length - words) / words);
}

/** 1 where there is no e, with an accent or without, at least three words, and the name that was asked for is one of them. */
export function lipogram(_messages: readonly Turn[], answer: string, columns: Columns): number | null {
  const name = text(columns.name);
  if (name === null || columns.without !== "e") return null;
  const named = answer.split(/[^\p{L}\p{N}]+/u).includes(name);
  return Number(named && wordsOf(answer).length >= 3 && !/e/i.test(answer.normalize("NFKD")));
}

/** By the one rule of which the record has the fields. */
export function score(messages: readonly Turn[], answer: string, columns: Columns): number | null {
  for (const rule of [tagged, length, lipogram]) {
    const value = rule(messages, answer, columns);
    if (value !== null) return value;
  }
  return null;
}
