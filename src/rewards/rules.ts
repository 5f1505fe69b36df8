/**
 * Rules that are known by name, for rewards and for evaluation alike. Each gives an answer a number from 0 to 1 (repetition: from -1 to 0),
 * or null where the record has nothing to compare with. What is expected stands in the record: in `answer`, `answers` (any of a list),
 * `output`, `completion` or `response`, or as the last turn of its messages.
 */
import { UserError } from "../errors";
import { nearest } from "../text/nearest";
import type { Message } from "../text/template";

export type Rule = (messages: readonly Message[], answer: string, columns: Columns) => number | null;

type Columns = Readonly<Record<string, unknown>>;

interface Named {
  /** For people. */
  readonly says: string;
  /** What stands behind the colon, where one may. */
  readonly takes?: string;
  of(given: string | undefined): Rule;
}

const named: Readonly<Record<string, Named>> = {
  exact: {
    says: "the answer is the expected one, white space at its ends left out",
    of: () => (_, answer, columns) => judged(columns, (expected) => expected.trim() === answer.trim()),
  },
  number: {
    says: "the number after #### is the expected one, as GSM8K has it; number:last takes the last number",
    takes: "last",
    of(which) {
      if (which !== undefined && which !== "last") throw badRule(`number:${which}`, "number or number:last");
      const find = which === "last" ? lastNumber : markedNumber;
      return (_, answer, columns) =>
        judged(columns, (expected) => {
          const wanted = markedNumber(expected) ?? lastNumber(expected);
          return wanted !== null && find(answer) === wanted;
        });
    },
  },
  choice: {
    says: "the first capital letter from A to J that stands alone is the expected one",
    of: () => (_, answer, columns) =>
      judged(columns, (expected) => {
        const wanted = letterOf(expected);
        return wanted !== null && letterOf(answer) === wanted;
      }),
  },
  regex: {
    says: "the answer matches a regular expression, such as regex:^[0-9]+$",
    takes: "PATTERN",
    of(pattern) {
      if (!pattern) throw badRule("regex", "regex:PATTERN");
      let found: RegExp;
      try {
        found = new RegExp(pattern, "su");
      } catch (error) {
        throw new UserError(`regex:${pattern} is no regular expression: ${(error as Error).message}`, { exitCode: 2 });
      }
      return (_, answer) => Number(found.test(answer));
    },
  },
  format: {
    says: "the whole answer stands between a tag and its end, such as format:a for <a>...</a>, which stand there once",
    takes: "TAG",
    of(tag) {
      if (!tag || !/^[\w-]+$/.test(tag)) throw badRule(`format${tag === undefined ? "" : `:${tag}`}`, "format:TAG");
      const whole = new RegExp(`^<${tag}>(?!.*<${tag}>)(?!.*</${tag}>.+)\\s*\\S.*</${tag}>$`, "su");
      return (_, answer) => Number(whole.test(answer.trim()));
    },
  },
  length: {
    says: "how near the answer is to so many words, such as length:20: 1 there, 0 at none or twice as many",
    takes: "WORDS",
    of(given) {
      const wanted = countOf("length", given);
      return (_, answer) => Math.max(0, 1 - Math.abs(wordsOf(answer).length - wanted) / wanted);
    },
  },
  repetition: {
    says: "minus the share of runs of so many words, such as repetition:3, that were there before",
    takes: "WORDS",
    of(given) {
      const size = countOf("repetition", given);
      return (_, answer) => {
        const words = wordsOf(answer.toLowerCase());
        const runs = Array.from({ length: Math.max(0, words.length - size + 1) }, (_, i) =>
          words.slice(i, i + size).join(" "),
        );
        return runs.length === 0 ? 0 : new Set(runs).size / runs.length - 1;
      };
    },
  },
};

/** For help: every rule with what it says. */
export const ruleNames = Object.entries(named).map(([name, { says, takes }]) => ({
  name: takes === undefined || takes === "last" ? name : `${name}:${takes}`,
  says,
}));

/** The rule of this name; null where there is none. Throws a UserError where what stands behind its colon is not right. */
export function ruleOf(name: string): Rule | null {
  const [head = "", ...rest] = name.split(":");
  const found = Object.hasOwn(named, head) ? named[head]! : null;
  if (!found) return null;
  const given = rest.length > 0 ? rest.join(":") : undefined;
  if (given !== undefined && found.takes === undefined) throw badRule(name, head);
  return found.of(given);
}

/** A name of a rule like this one, for messages. */
export function ruleNear(name: string): string | undefined {
  return nearest(name.split(":")[0]!, Object.keys(named)) ?? undefined;
}

function badRule(got: string, wanted: string): UserError {
  return new UserError(`there is no rule ${got}: give ${wanted}`, { exitCode: 2 });
}

function countOf(rule: string, given: string | undefined): number {
  const count = Number(given);
  if (!given || !Number.isInteger(count) || count < 1)
    throw badRule(`${rule}:${given ?? ""}`, `${rule}:WORDS, a number`);
  return count;
}

/** 1 where some answer that is expected passes, 0 where none does, null where none is there. */
function judged(columns: Columns, passes: (expected: string) => boolean): number | null {
  const all = expectedIn(columns);
  return all.length === 0 ? null : Number(all.some(passes));
}

/** The answers that a record expects: of a pair the chosen one, else those of the first column that has any which is not empty. */
export function expectedIn(columns: Columns): readonly string[] {
  const names = ["answers", "answer", "output", "completion", "response", "chosen", "messages", "conversations"];
  const isPair = columns.chosen !== undefined && columns.rejected !== undefined;
  const found = (isPair ? ["chosen", ...names] : names).map((name) => answersOf(columns[name]));
  return found.find((list) => list.some((answer) => answer !== "")) ?? found.find((list) => list.length > 0) ?? [];
}

/** A text, a number, a list of them, or what the assistant says last. */
function answersOf(value: unknown): readonly string[] {
  const list = (Array.isArray(value) ? value : [value]).flatMap((one) =>
    typeof one === "string" ? [one] : typeof one === "number" ? [String(one)] : [],
  );
  const turn = list.length === 0 ? lastTurn(value) : null;
  return turn === null ? list : [turn];
}

function lastTurn(turns: unknown): string | null {
  if (!Array.isArray(turns)) return null;
  const { role, from, content, value } = (turns.at(-1) ?? {}) as Record<string, unknown>;
  const text = content ?? value;
  return ["assistant", "gpt"].includes(String(role ?? from)) && typeof text === "string" ? text : null;
}

/** GSM8K's strict form: https://arxiv.org/abs/2110.14168, and lm-evaluation-harness's gsm8k.yaml. */
function markedNumber(text: string): number | null {
  const found = /#### (-?[0-9.,]+)/.exec(text);
  return found ? numberOf(found[1]!) : null;
}

/** Its flexible form: the last number of all. */
function lastNumber(text: string): number | null {
  const found = text.match(/-?[$0-9.,]{2,}|-?[0-9]+/g);
  return found ? numberOf(found.at(-1)!) : null;
}

function numberOf(text: string): number | null {
  const digits = text.replaceAll(/[$,]/g, "").replace(/\.$/, "");
  const value = Number(digits);
  return digits === "" || Number.isNaN(value) ? null : value;
}

function letterOf(text: string): string | null {
  return /(?<![\p{L}\p{N}])[A-J](?![\p{L}\p{N}])/u.exec(text)?.[0] ?? null;
}

function wordsOf(text: string): string[] {
  return text.split(/\s+/).filter((word) => word !== "");
}
