/** What gives answers numbers: a rule, a module of the user's, an endpoint, a reward model. All are asked alike, many answers at a time. */
import { shown, UserError } from "../errors";
import type { Message } from "../text/template";

/** An answer, and what it is scored by. */
export interface Answered {
  /** Everything before the answer; a prompt that is plain text is one turn of the user's. */
  readonly messages: readonly Message[];
  /** Its words, without what ends it. */
  readonly answer: string;
  /** The fields of the record that the prompt is from. */
  readonly columns: Readonly<Record<string, unknown>>;
  /** The prompt with the answer and its end, as tokens of the policy. */
  readonly ids: Uint32Array;
}

export interface Reward extends Disposable {
  /** What its figures are called. */
  readonly name: string;
  /** A number for each answer; null for one that it does not judge. Throws a UserError where it fails. */
  score(answers: readonly Answered[]): Promise<readonly (number | null)[]>;
}

/** Beyond it the square of a difference is no float32 any more. */
const LARGEST_REWARD = 1e15;

/** What one is, in words: null or a finite number of each answer. Throws a UserError that shows the answer where it is not. */
export function checkedScores(values: unknown, answers: readonly Answered[], what: string): readonly (number | null)[] {
  if (!Array.isArray(values))
    throw new UserError(`${what} gave ${shown(values)}, expected a list of ${answers.length} numbers or nulls`, {
      hint: inputOf(answers[0]),
    });
  if (values.length !== answers.length)
    throw new UserError(`${what} gave ${values.length} rewards for ${answers.length} answers`, {
      hint: inputOf(answers[0]),
    });
  const bad = values.findIndex(
    (value) => value !== null && !(typeof value === "number" && Math.abs(value) <= LARGEST_REWARD),
  );
  if (bad >= 0) {
    const value: unknown = values[bad];
    const said = value instanceof Promise ? "a promise" : typeof value === "number" ? value : shown(value);
    throw new UserError(
      `${what} gave ${said} for an answer, expected a number${typeof value === "number" && Number.isFinite(value) ? ` within ${LARGEST_REWARD}` : ""} or null`,
      {
        hint: inputOf(answers[bad]),
      },
    );
  }
  return values as (number | null)[];
}

/** The answer that a reward was asked about, to be shown beside what went wrong. */
export function inputOf(answered: Answered | undefined): string {
  if (!answered) return "it was asked about no answer";
  const { messages, answer } = answered;
  return `it was asked about the answer ${shown(answer)} to ${shown(messages.at(-1)?.content ?? "")}`;
}
