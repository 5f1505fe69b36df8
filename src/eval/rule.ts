/** A rule for answers: a module of the user's own that gives each answer a number, and what a model's answers get by it. */
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import type { Row } from "../data/row";
import { messageOf, reasonOf, shown, UserError } from "../errors";
import { readTextFile } from "../files";
import { rewardKind } from "../rewards/named";
import { ruleNear, ruleOf } from "../rewards/rules";
import type { Message } from "../text/template";
import { type Interval, interval } from "./interval";
import { type PassAt, passRate } from "./pass-at";

/** What an answer is scored by. */
export interface Scorable {
  /** Everything before the answer. */
  readonly messages: readonly Message[];
  readonly answer: string;
  /** The fields of the record. */
  readonly columns: Row["fields"];
}

export interface Rule {
  /** Of its module, or its name. */
  readonly path: string;
  /** `score`, then the other functions of the module, which are told beside it. */
  readonly functions: readonly (readonly [string, (...args: unknown[]) => unknown])[];
}

/**
 * A rule by its name, or a TypeScript or JavaScript module with a function `score(messages, answer, columns)`, or whose default export is
 * given lists of all three. `rule.ts#truth` takes another function of it. `find`: where a module is on disk.
 */
export async function loadRule(
  path: string,
  find: (path: string) => string | Promise<string> = (path) => path,
): Promise<Rule> {
  const rule = ruleOf(path);
  if (rule) return { path, functions: [["score", rule as Rule["functions"][number][1]]] };
  const kind = rewardKind(path);
  const wanted = kind.kind === "module" ? kind.wanted : undefined;
  const module = await (kind.kind === "module" ? load(kind.path, await find(kind.path)) : load(path, path));
  const functions = Object.entries(module).filter(
    (entry): entry is [string, Rule["functions"][number][1]] => typeof entry[1] === "function",
  );
  if (wanted !== undefined) {
    const one = functions.find(([name]) => name === wanted);
    if (!one)
      throw new UserError(
        `${path}: it has no function ${wanted}: it has ${Object.keys(module).join(", ") || "nothing"}`,
      );
    return { path, functions: [["score", one[1]]] };
  }
  const score = functions.find(([name]) => name === "score")?.[1] ?? single(functions);
  if (!score)
    throw new UserError(`${path} has no function score: it has ${Object.keys(module).join(", ") || "nothing"}`, {
      hint: "export function score(messages, answer, columns), which returns a number, or null for what it does not judge",
    });
  const parts = functions.filter(([name]) => name !== "score" && name !== "default");
  return { path, functions: [["score", score], ...parts] };
}

/** A default export is asked about one answer as about many. */
function single(functions: Rule["functions"]): Rule["functions"][number][1] | null {
  const all = functions.find(([name]) => name === "default")?.[1];
  return all
    ? async (...asked) => {
        const found = await all(...asked.map((one) => [one]));
        return Array.isArray(found) && found.length === 1 ? found[0] : found;
      }
    : null;
}

async function load(path: string, found: string): Promise<Readonly<Record<string, unknown>>> {
  const near = ruleNear(path);
  readTextFile(found, path, { hint: near ? `did you mean the rule ${near}?` : "give a rule, or the path of a module" });
  try {
    return await import(pathToFileURL(resolve(found)).href);
  } catch (error) {
    throw new UserError(`${path} cannot be loaded: ${reasonOf(error)}`, { cause: error });
  }
}

/** By the name of each function its number, or null where it does not judge. */
export type Scores = Readonly<Record<string, number | null>>;

export async function scoresBy({ path, functions }: Rule, { messages, answer, columns }: Scorable): Promise<Scores> {
  const scores: Record<string, number | null> = {};
  for (const [name, judge] of functions) {
    const of = () => `${path}: ${name} of the answer ${shown(answer)}`;
    let value: unknown;
    try {
      value = await judge(messages, answer, columns);
    } catch (error) {
      throw new UserError(`${of()} threw: ${messageOf(error)}`, { cause: error });
    }
    if (value !== null && !(typeof value === "number" && Number.isFinite(value)))
      throw new UserError(`${of()} is ${typeof value === "number" ? value : shown(value)}, expected a number or null`);
    scores[name] = value;
  }
  return scores;
}

export interface RuleFigures {
  readonly method: string;
  readonly answers: number;
  /** Answers that `score` does not judge. */
  readonly unjudged: number;
  /** By function. Null where nothing is judged. */
  readonly means: Readonly<Record<string, Interval | null>>;
  /** By k, where it is asked for: pass@k by `score`. Null where no problem has k judged answers. */
  readonly pass_at?: Readonly<Record<string, PassAt | null>>;
  /** The same by the value of a column. */
  readonly groups?: Readonly<Record<string, Omit<RuleFigures, "method" | "groups">>>;
}

export interface Scored {
  readonly scores: Scores;
  /** The value of the column that groups them. */
  readonly group: string | null;
  /** What it is an answer to: several answers may have the same. */
  readonly problem: string;
}

/** The means of what answers got, all together and by group; `passAt`: for which k. */
export function ruleFigures(
  scored: readonly Scored[],
  { method, passAt = [] }: { readonly method: string; readonly passAt?: readonly number[] },
): RuleFigures {
  const names = [...new Set(scored.map(({ group }) => group))].filter((group) => group !== null).sort();
  const groups = names.map(
    (name) =>
      [
        name,
        meansOf(
          scored.filter(({ group }) => group === name),
          passAt,
        ),
      ] as const,
  );
  return { method, ...meansOf(scored, passAt), ...(groups.length > 0 && { groups: Object.fromEntries(groups) }) };
}

function meansOf(scored: readonly Scored[], passAt: readonly number[]): Omit<RuleFigures, "method" | "groups"> {
  const names = Object.keys(scored[0]?.scores ?? {});
  const judged = (name: string) => scored.map(({ scores }) => scores[name]!).filter((value) => value !== null);
  const problems = Map.groupBy(scored, ({ problem }) => problem);
  const scores = [...problems.values()].map((answers) => answers.map(({ scores }) => scores.score!));
  return {
    answers: scored.length,
    unjudged: scored.length - judged("score").length,
    means: Object.fromEntries(names.map((name) => [name, interval(judged(name))])),
    ...(passAt.length > 0 && { pass_at: Object.fromEntries(passAt.map((k) => [k, passRate(k, scores)])) }),
  };
}
