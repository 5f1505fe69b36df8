/** Measuring an open model by what it makes of texts that may follow a context: files of tasks, or a folder of them. */
import { readdirSync, statSync } from "node:fs";
import { basename, extname, join } from "node:path";
import type { Row } from "../../data/row";
import { readRows } from "../../data/rows";
import { UserError } from "../../errors";
import { type Asked, questionsIn, type TaskName } from "../../eval/choice-tasks";
import {
  type Answered,
  type ChoiceFigures,
  choiceFigures,
  continuationsOf,
  type Fitted,
  fileFigures,
  type Picks,
  picksOf,
} from "../../eval/choices";
import { type Likelihood, likelihoods } from "../../eval/continuations";
import { expectFinite } from "../../eval/perplexity";
import type { Reporter } from "../../log/console";
import { ticker } from "../../tick";
import type { Reading, Subject } from "./subject";
import { countdown } from "./written";

export interface ChoiceOptions {
  readonly task: TaskName;
  /** A data file, or a folder of them: every `*.jsonl` in it. */
  readonly data: string;
  /** Records of each file, its first, at most; 0 for all. */
  readonly limit: number;
  /** Continuations that run together. */
  readonly batch: number;
}

/** A record with what each of its continuations is worth, for a file. */
export interface Judged {
  readonly where: string;
  readonly context: string;
  readonly choices: readonly string[];
  readonly gold: number;
  readonly log_likelihoods: readonly number[];
  /** Whether each is what the model would say. */
  readonly greedy: readonly boolean[];
  /** Which choice acc, acc_norm and acc_bytes are taken of. */
  readonly picks: Picks;
}

export interface MeasuredChoices {
  readonly records: readonly Judged[];
  readonly figures: ChoiceFigures;
}

export async function measureChoices(
  opened: Pick<Subject, "device" | "model" | "slabs" | "tokenizer">,
  { task, data, limit, batch }: ChoiceOptions,
  { console, find }: Reading,
): Promise<MeasuredChoices> {
  const files: { readonly path: string; readonly asked: readonly Asked[] }[] = [];
  // One after another: what is told is the first thing that is wrong.
  for (const path of choiceFiles(data)) {
    const asked = questionsIn(await rowsOf(path, find), task);
    files.push({ path, asked: limit > 0 ? asked.slice(0, limit) : asked });
  }
  const found = await answersTo(
    opened,
    files.flatMap(({ asked }) => asked),
    batch,
    console,
  );
  let at = 0;
  const figures = files.map(({ path, asked }) => {
    const answered = found.slice(at, at + asked.length);
    at += asked.length;
    return [basename(path, extname(path)), fileFigures(answered, task)] as const;
  });
  return { records: found.map(judged), figures: choiceFigures(figures, task) };
}

/** The file, or those of the folder by their names. */
export function choiceFiles(data: string): string[] {
  if (!statSync(data, { throwIfNoEntry: false })?.isDirectory()) return [data];
  const names = readdirSync(data).filter((name) => name.endsWith(".jsonl"));
  if (names.length === 0)
    throw new UserError(`${data} has no file of records`, { hint: "a folder's *.jsonl are read" });
  return names.sort().map((name) => join(data, name));
}

/** Every one of a file's records: of a part of them the figures would be others. */
async function rowsOf(path: string, find: Reading["find"]): Promise<readonly Row[]> {
  const { rows, bad } = await readRows(await find(path), path);
  const [first] = bad;
  if (first) throw new UserError(`${first.where}: ${first.problem}`);
  if (rows.length === 0) throw new UserError(`${path} has no record`);
  return rows;
}

async function answersTo(
  { device, model, slabs, tokenizer }: Pick<Subject, "device" | "model" | "slabs" | "tokenizer">,
  questions: readonly Asked[],
  batch: number,
  console: Reporter,
): Promise<Answered[]> {
  const { context } = model.config;
  const byQuestion: Fitted[][] = [];
  const pause = ticker();
  for (const asked of questions) {
    await pause();
    byQuestion.push(continuationsOf(asked, tokenizer, context));
  }
  const all = byQuestion.flat();
  const cut = all.filter(({ lost }) => lost > 0).length;
  if (cut > 0)
    console.note(
      `cut on the left, since it has more than ${context} tokens: the context of ${cut} of ${all.length} continuations`,
    );
  const longest = all.reduce((most, { ids }) => Math.max(most, ids.length - 1), 1);
  const tokens = all.reduce((sum, { ids }) => sum + ids.length, 0);
  const progress = countdown(console, "continuation");
  const found = new Array<Likelihood>(all.length);
  let [done, read] = [0, 0];
  const scoring = { device, model, slabs, rows: Math.min(batch, all.length), length: longest };
  for await (const [at, likelihood] of likelihoods(scoring, all)) {
    const { ids, where } = all[at]!;
    expectFinite(likelihood.logLikelihood, where);
    found[at] = likelihood;
    progress(++done, all.length, (read += ids.length) / tokens);
  }
  console.done();
  let next = 0;
  return questions.map((asked, i) => {
    const likelihoods = found.slice(next, next + byQuestion[i]!.length);
    next += likelihoods.length;
    return { asked, likelihoods };
  });
}

function judged({ asked, likelihoods }: Answered): Judged {
  const { where, context, choices, gold } = asked;
  return {
    where,
    context,
    choices,
    gold,
    log_likelihoods: likelihoods.map(({ logLikelihood }) => logLikelihood),
    greedy: likelihoods.map(({ greedy }) => greedy),
    picks: picksOf(asked, likelihoods),
  };
}
