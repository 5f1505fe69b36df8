/** Two models judged by a third: every pair of answers in both orders, each verdict kept as it comes. */
import { type LengthControlled, lengthControlled } from "../eval/length-controlled";
import { pointsOf, type Winner, type WinRate, winRate } from "../eval/win-rate";
import type { Reporter } from "../log/console";
import type { Judge } from "../rewards/judge";
import { filled, type Verdict, verdictOf } from "../rewards/verdict";
import type { Pair } from "../stages/evals/paired-answers";
import { countdown } from "../stages/evals/written";
import { type Question, rubricName, type VerdictFile, verdictKey } from "./verdicts";

interface Asked extends Question {
  readonly key: string;
}

export interface Trial {
  readonly judge: string;
  readonly rubric: string;
  readonly pairs: readonly { readonly a: string; readonly b: string; readonly orders: readonly [Asked, Asked] }[];
}

/** Pairs that are the same in every word are one. */
export function trialOf(pairs: readonly Pick<Pair, "messages" | "a" | "b">[], judge: string, rubric: string): Trial {
  const all = new Map<string, Trial["pairs"][number]>();
  for (const { messages, a, b } of pairs) {
    const asked = (order: Question["order"]): Asked => {
      const question = { messages, a, b, order };
      return { ...question, key: verdictKey(judge, rubric, question) };
    };
    const orders = [asked("ab"), asked("ba")] as const;
    all.set(orders[0].key, { a, b, orders });
  }
  return { judge, rubric, pairs: [...all.values()] };
}

/** What is not in the file yet. Equal answers are no question: they are a tie. */
function missing({ pairs }: Trial, { verdicts }: VerdictFile): { readonly equal: Asked[]; readonly asked: Asked[] } {
  const all = pairs.flatMap(({ orders }) => orders).filter(({ key }) => !verdicts.has(key));
  return { equal: all.filter(({ a, b }) => a === b), asked: all.filter(({ a, b }) => a !== b) };
}

function textOf(rubric: string, { messages, a, b, order }: Question): string {
  const [first, second] = order === "ab" ? [a, b] : [b, a];
  return filled(rubric, { messages, first, second });
}

function winnerOf(verdict: Verdict | null, order: Question["order"]): Winner | null {
  if (verdict === null || verdict === "tie") return verdict;
  return (verdict === "first") === (order === "ab") ? "a" : "b";
}

export interface Cost {
  readonly requests: number;
  /** About so many, at four characters each. */
  readonly tokens: number;
}

/** What is still to be asked, before it is. */
export function costOf(trial: Trial, file: VerdictFile): Cost {
  const { asked } = missing(trial, file);
  const characters = asked.reduce((sum, question) => sum + textOf(trial.rubric, question).length, 0);
  return { requests: asked.length, tokens: Math.ceil(characters / 4) };
}

/** Asks for every verdict that is missing, so many at a time. What has come is in the file, whatever happens then. */
export async function askAll(
  trial: Trial,
  file: VerdictFile,
  { judge, concurrency }: { readonly judge: Judge; readonly concurrency: number },
  console: Reporter,
): Promise<void> {
  const { rubric } = trial;
  const lineOf = ({ key, messages, a, b, order }: Asked) => ({
    key,
    judge: trial.judge,
    rubric: rubricName(rubric),
    prompt: messages.map(({ role, content }) => ({ role, content })),
    a,
    b,
    order,
  });
  const { equal, asked } = missing(trial, file);
  for (const question of equal) file.add({ ...lineOf(question), verdict: "tie", reply: null });
  const progress = countdown(console, "verdict");
  let next = 0;
  let done = 0;
  let failed = false;
  const worker = async () => {
    while (next < asked.length && !failed) {
      const question = asked[next++]!;
      try {
        const { text, cut, problem } = await judge.ask(textOf(rubric, question));
        const verdict = winnerOf(problem === undefined ? verdictOf(text, { cut }) : null, question.order);
        file.add({ ...lineOf(question), verdict, reply: text, ...(problem !== undefined && { problem }) });
      } catch (error) {
        failed = true;
        throw error;
      }
      progress(++done, asked.length);
    }
  };
  const ended = await Promise.allSettled(Array.from({ length: Math.min(concurrency, asked.length) }, worker));
  console.done();
  const broken = ended.find((one) => one.status === "rejected");
  if (broken) throw broken.reason;
}

export interface Judged extends WinRate {
  readonly judge: string;
  /** At equal length. */
  readonly length_controlled: LengthControlled | null;
  /** Pairs of which both orders say the same, as a share of those that were asked about and count. */
  readonly agreement: number | null;
  /** Verdicts for the answer that was shown first, as a share of those that name one. */
  readonly first_shown: number | null;
  /** Pairs of equal answers: they count as ties and are not asked about. */
  readonly equal: number;
  readonly verdicts: number;
  /** Verdicts that could not be read, and the pairs that do not count for that. */
  readonly unparsable: { readonly verdicts: number; readonly pairs: number };
  /** Characters of an answer, in the mean. */
  readonly length: { readonly a: number; readonly b: number };
}

/** Of verdicts that are all there. */
export function judged({ judge, pairs }: Trial, { verdicts }: VerdictFile, seed: number): Judged {
  const all = pairs.map(({ a, b, orders }) => {
    const [ab, ba] = orders.map(({ key }) => verdicts.get(key)!.verdict) as [Winner | null, Winner | null];
    return { ab, ba, points: pointsOf(ab, ba), equal: a === b, lengths: [charactersOf(a), charactersOf(b)] as const };
  });
  const counted = all.flatMap((one) => (one.points === null ? [] : [{ ...one, points: one.points }]));
  const asked = all.filter(({ equal }) => !equal);
  const compared = counted.filter(({ equal }) => !equal);
  const winners = asked.flatMap(({ ab, ba }) => [ab, ba]);
  const first = asked.flatMap(({ ab, ba }) => [
    ...(ab === "a" || ab === "b" ? [ab === "a"] : []),
    ...(ba === "a" || ba === "b" ? [ba === "b"] : []),
  ]);
  const mean = (side: 0 | 1) => all.reduce((sum, { lengths }) => sum + lengths[side], 0) / all.length;
  const share = (count: number, of: number) => (of > 0 ? count / of : null);
  return {
    judge,
    ...winRate(counted.map(({ points }) => points)),
    length_controlled: lengthControlled(counted, seed),
    agreement: share(compared.filter(({ ab, ba }) => ab === ba).length, compared.length),
    first_shown: share(first.filter(Boolean).length, first.length),
    equal: all.length - asked.length,
    verdicts: 2 * all.length,
    unparsable: { verdicts: winners.filter((one) => one === null).length, pairs: all.length - counted.length },
    length: { a: mean(0), b: mean(1) },
  };
}

/** Letters as a reader counts them, and not UTF-16's halves. */
function charactersOf(text: string): number {
  let count = 0;
  for (const _ of text) count++;
  return count;
}
