/** Answers of two models to the same prompts, or those that are written in files already. */
import { subsetOf } from "../../data/choose";
import { promptIn } from "../../data/prompts";
import { readRecords } from "../../data/records";
import { reportLines, reportOf } from "../../data/report";
import type { BadRow, Row } from "../../data/row";
import { UserError } from "../../errors";
import type { Message } from "../../text/template";
import type { Answering, Reading } from "./subject";
import { SUBSET_SEED, type WriteOptions, writtenAnswers } from "./written";

/** Where answers come from. */
export interface Side {
  /** As it was given. */
  readonly name: string;
  /** Null for a file of answers. */
  readonly open: (() => Promise<Answering & Disposable>) | null;
}

export interface Pair {
  readonly where: string;
  readonly messages: readonly Message[];
  /** The prompt is plain text, which is gone on from. */
  readonly plain: boolean;
  /** The fields of its record. */
  readonly columns: Row["fields"];
  readonly a: string;
  readonly b: string;
}

export interface PairOptions extends Omit<WriteOptions, "data" | "samples"> {
  /** Where the prompts are; null where they are those of the first side's file. */
  readonly data: string | null;
}

/** Records of answers end so. */
export function isAnswerFile(name: string): boolean {
  return /\.jsonl(\.gz)?$/i.test(name);
}

type Asked = Omit<Pair, "a" | "b">;

/** Prompt by prompt. One that a side does not answer is left out, and told. */
export async function pairedAnswers(
  sides: readonly [Side, Side],
  options: PairOptions,
  reading: Reading,
): Promise<Pair[]> {
  const { console, find } = reading;
  const data = options.data ?? promptFile(sides);
  const { rows, bad } = await readRecords(await find(data), data);
  const problems: BadRow[] = [...bad];
  const found: { row: Row; asked: Asked }[] = [];
  for (const row of rows) {
    const { fields: columns, where } = row;
    const prompt = promptIn(columns);
    if ("problem" in prompt) problems.push({ where, problem: prompt.problem });
    else found.push({ row, asked: { where, columns, ...turnsOf(prompt.prompt) } });
  }
  const lines = reportLines(
    reportOf(
      rows.length + bad.length,
      found.map(({ row }) => row),
      problems,
    ),
    data,
    "prompts",
  );
  if (lines.length > 1) for (const line of lines) console.note(line);
  if (found.length === 0) throw new UserError(`${data} has no prompt`, { hint: lines.slice(1).join("; ").trim() });
  const chosen = subsetOf(found, options.limit, SUBSET_SEED);
  const answers: ReadonlyMap<string, string>[] = [];
  for (const side of sides) answers.push(await answersOf(side, chosen, { ...options, data }, reading));
  const pairs = chosen.flatMap(({ asked }) => {
    const [a, b] = answers.map((one) => one.get(asked.where));
    return a === undefined || b === undefined ? [] : [{ ...asked, a, b }];
  });
  const names = sides.map(({ name }) => name).join(" and ");
  if (pairs.length === 0) throw new UserError(`there is no prompt of ${data} that ${names} both answer`);
  if (pairs.length < chosen.length)
    console.note(
      `${chosen.length - pairs.length} of ${chosen.length} prompts are left out: not both sides answer them`,
    );
  return pairs;
}

function promptFile([a, b]: readonly [Side, Side]): string {
  if (!a.open && !b.open) return a.name;
  throw new UserError("--data is missing: a model is asked what stands there", {
    hint: "only two files of answers bring their own prompts",
    exitCode: 2,
  });
}

function turnsOf(prompt: readonly Message[] | string): Pick<Pair, "messages" | "plain"> {
  return typeof prompt === "string"
    ? { messages: [{ role: "user", content: prompt }], plain: true }
    : { messages: prompt, plain: false };
}

/** By the place of the prompt. */
async function answersOf(
  { name, open }: Side,
  chosen: readonly { readonly row: Row; readonly asked: Asked }[],
  options: Omit<WriteOptions, "samples">,
  reading: Reading,
): Promise<ReadonlyMap<string, string>> {
  const { console } = reading;
  if (open) {
    using opened = await open();
    const rows = { rows: chosen.map(({ row }) => row), bad: [] };
    console.note(`${name} answers ${chosen.length} prompts`);
    const written = await writtenAnswers(opened, rows, { ...options, limit: 0, samples: 1 }, console);
    return new Map(written.map(({ prompt, text }) => [prompt.where, text]));
  }
  const known = await fileAnswers(name, reading);
  return new Map(
    chosen.flatMap(({ asked: { where, messages } }) => {
      const answer = known.get(wordsOf(messages));
      return answer === undefined ? [] : [[where, answer]];
    }),
  );
}

const ANSWERS = ["answer", "output", "response", "completion"];

/** A file's answers by what they answer. Of several to one prompt it is the first. */
async function fileAnswers(path: string, { console, find }: Reading): Promise<ReadonlyMap<string, string>> {
  const { rows, bad } = await readRecords(await find(path), path);
  const known = new Map<string, string>();
  const problems = [...bad];
  for (const { fields, where } of rows) {
    const prompt = promptIn(fields);
    const answer = ANSWERS.map((name) => fields[name]).find((value) => typeof value === "string");
    if ("problem" in prompt) problems.push({ where, problem: prompt.problem });
    else if (answer === undefined) problems.push({ where, problem: `it has no answer (${ANSWERS.join(", ")})` });
    else {
      const words = wordsOf(turnsOf(prompt.prompt).messages);
      if (known.has(words)) problems.push({ where, problem: "its prompt stands before it already" });
      else known.set(words, answer as string);
    }
  }
  if (problems.length > 0)
    for (const line of reportLines(reportOf(rows.length + bad.length, [], problems), path, "answers").slice(1))
      console.note(`${path}:${line}`);
  if (known.size === 0) throw new UserError(`${path} has no answers`, { hint: "give records of prompt and answer" });
  return known;
}

/** A prompt that is plain text, and the same words as a user's turn, are one. */
function wordsOf(messages: readonly Message[]): string {
  return JSON.stringify(messages.map(({ role, content }) => [role, content.trim()]));
}
