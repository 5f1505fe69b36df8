/** Measuring an open model on a data file: the text that it predicts, and the answers that it gives, by the data's or by a rule. */
import { subsetOf } from "../../data/choose";
import { readText, tokensIn } from "../../data/corpus";
import { withoutEnds } from "../../data/end-tokens";
import type { Located } from "../../data/formats";
import { unfolded } from "../../data/nested";
import { areTurns } from "../../data/prompts";
import { readRecords } from "../../data/records";
import { reportLines, reportOf } from "../../data/report";
import type { Row, Rows } from "../../data/row";
import { readRows } from "../../data/rows";
import { samplesIn } from "../../data/samples";
import { templateFor } from "../../data/template-for";
import type { Conversation } from "../../data/turns";
import { UserError } from "../../errors";
import { type Answer, type Answering as AnsweringBy, type AnswerOptions, answerAll, asked } from "../../eval/answers";
import { type AnswerFigures, answerFigures, type TextFigures, textFigures } from "../../eval/figures";
import { score } from "../../eval/perplexity";
import { type Rule, type RuleFigures, ruleFigures, type Scored, type Scores, scoresBy } from "../../eval/rule";
import type { Reporter } from "../../log/console";
import { records } from "../examples";
import type { Answering, Reading, Subject } from "./subject";
import { countdown, SUBSET_SEED, writtenAnswers } from "./written";

export interface TextOptions {
  /** A text file. */
  readonly data: string;
  /** Tokens that a window sees, and tokens that it scores. */
  readonly context: number;
  readonly stride: number;
}

/** How well a model predicts a text. */
export async function measureText(
  opened: Subject,
  { data, context, stride }: TextOptions,
  { console, find }: Reading,
): Promise<TextFigures> {
  const text = await readText(await find(data), data);
  const ids = await tokensIn(text, { tokenizer: opened.tokenizer, onNote: console.note });
  const scored = await score(opened, ids, { context, stride, onProgress: countdown(console, "window") });
  console.done();
  return textFigures(scored, text, { context, stride });
}

export interface QuestionOptions {
  /** Instructions, conversations, or pairs, of which the chosen answer is the expected one. */
  readonly data: string;
  readonly template: string;
  /** Conversations at most, chosen by seed; 0 for all. */
  readonly limit: number;
  /** Conversations that run together. */
  readonly batch: number;
  readonly maxTokens: number;
  /** Later turns follow the model's own answers. */
  readonly ownHistory: boolean;
}

export interface MeasuredAnswers {
  readonly answers: readonly Answer[];
  readonly figures: AnswerFigures;
}

export interface RuleOptions extends Omit<QuestionOptions, "ownHistory"> {
  readonly rule: Rule;
  /** 0 for greedy. */
  readonly temperature: number;
  readonly seed: number;
  /** Answers of each question. */
  readonly samples: number;
  /** For which k it is told how often one of k answers passes. */
  readonly passAt: readonly number[];
  /** A column by whose values the answers are told apart. */
  readonly by: string | null;
}

export interface MeasuredRule {
  readonly answers: readonly (Pick<Answer, "question" | "answer" | "ended"> & { readonly scores: Scores })[];
  readonly figures: RuleFigures;
}

/** How often a model's greedy answers are those of the data. */
export async function measureAnswers(
  opened: Answering,
  options: QuestionOptions,
  { console, find }: Reading,
): Promise<MeasuredAnswers> {
  const { ownHistory, data } = options;
  const read = await readRecords(await find(data), data);
  const { chosen, template } = askedOf(opened, read, options, console);
  const answered = await answersTo(opened, chosen, { ...options, template }, console);
  return { answers: answered.flat(), figures: answerFigures(answered, { ownHistory }) };
}

/** What a model's answers get by a rule. */
export async function measureRule(
  opened: Answering,
  { rule, temperature, seed, samples, passAt, by, ...options }: RuleOptions,
  { console, find }: Reading,
): Promise<MeasuredRule> {
  const method = temperature === 0 ? "greedy" : `sampled at temperature ${temperature}, seed ${seed}`;
  const problemOf = (at: number, turn: number) => `${Math.floor(at / samples)}.${turn}`;
  const read = await readRecords(await find(options.data), options.data);
  // Plain text is gone on from without a template.
  if (!areTurns(read)) {
    const written = await writtenAnswers(opened, read, { ...options, temperature, seed, samples }, console);
    expectColumn(by, written[0]!.prompt.columns, options.data);
    const answers: Judged[] = [];
    for (const [i, { prompt, text: answer, ended }] of written.entries()) {
      const { messages, columns } = prompt;
      const scores = await scoresBy(rule, { messages, answer, columns });
      const group = by === null ? null : groupOf(columns[by]);
      answers.push({ question: messages.at(-1)!.content, answer, ended, scores, group, problem: problemOf(i, 0) });
    }
    return told(answers, { method, passAt });
  }
  const { rows } = unfolded(await readRows(await find(options.data), options.data), options.data);
  const columnsAt = new Map(rows.map(({ where, fields }) => [where, fields]));
  const columnsOf = ({ where }: Pick<Located, "where">) => columnsAt.get(where) ?? {};
  const { chosen, template } = askedOf(opened, read, options, console, columnsOf);
  if (!chosen.some((sample) => by !== null && Object.hasOwn(columnsOf(sample), by)))
    expectColumn(by, columnsOf(chosen[0]!), options.data);
  const repeated = chosen.flatMap((sample) => Array<(typeof chosen)[number]>(samples).fill(sample));
  const sampled = { temperature, seed };
  const answered = await answersTo(opened, repeated, { ...options, template, ownHistory: false, sampled }, console);
  const answers: Judged[] = [];
  for (const [i, turns] of answered.entries()) {
    const sample = repeated[i]!;
    const columns = columnsOf(sample);
    const group = by === null ? null : groupOf(columns[by]);
    for (const [turn, { question, answer, ended }] of turns.entries()) {
      const messages = sample.messages.slice(0, asked(sample)[turn]);
      const scores = await scoresBy(rule, { messages, answer, columns });
      answers.push({ question, answer, ended, scores, group, problem: problemOf(i, turn) });
    }
  }
  return told(answers, { method, passAt });
}

type Judged = MeasuredRule["answers"][number] & Scored;

function told(answers: readonly Judged[], how: Parameters<typeof ruleFigures>[1]): MeasuredRule {
  const written = answers.map(({ group: _, problem: __, ...answer }) => answer);
  return { answers: written, figures: ruleFigures(answers, how) };
}

function expectColumn(by: string | null, columns: Row["fields"], data: string): void {
  if (by === null || Object.hasOwn(columns, by)) return;
  throw new UserError(`${data} has no column ${by}: it has ${Object.keys(columns).join(", ")}`, { exitCode: 2 });
}

/** The name of the group that a column's value stands for. */
function groupOf(value: unknown): string {
  return typeof value === "string" ? value : (JSON.stringify(value) ?? "(none)");
}

/** The conversations of a file that a model is asked, and the template by which it is. */
function askedOf(
  { tokenizer }: Answering,
  read: Rows,
  { data, template: wanted, limit }: Pick<QuestionOptions, "data" | "template" | "limit">,
  console: Reporter,
  columnsOf?: ColumnsOf,
) {
  const { conversations, format } = conversationsIn(read, data, console, columnsOf);
  const template = templateFor(wanted, format, tokenizer);
  const chosen = subsetOf(conversations, limit, SUBSET_SEED).map((sample) => withoutEnds(sample, tokenizer, template));
  return { chosen, template };
}

async function answersTo(
  opened: Answering,
  chosen: readonly Conversation[],
  { template, batch, ...options }: Omit<AnswerOptions, "onProgress"> & Pick<AnsweringBy, "template">,
  console: Reporter,
): Promise<Answer[][]> {
  const answered = await answerAll({ ...opened, template, context: opened.model.config.context }, chosen, {
    ...options,
    batch: Math.min(chosen.length, batch),
    onProgress: countdown(console, "answer"),
  });
  console.done();
  return answered;
}

/** Fields of a record that are read besides. */
type ColumnsOf = (sample: Pick<Located, "where">) => Row["fields"];

function conversationsIn(rows: Rows, data: string, console: Reporter, columnsOf: ColumnsOf = () => ({})) {
  const trees = records.trees.parse(undefined);
  const { samples, format, read, bad } = samplesIn(rows, data, { trees, strict: false });
  const conversations: (Conversation & Located)[] = [];
  const problems = [...bad];
  for (const sample of samples) {
    if (sample.kind !== "messages") problems.push({ where: sample.where, problem: "it is no conversation" });
    else if (asked(sample).length > 0) conversations.push(unreadBeside(sample, columnsOf(sample)));
    else problems.push({ where: sample.where, problem: "nothing of it is to be learned" });
  }
  const lines = reportLines(reportOf(read, conversations, problems), data);
  if (lines.length > 1) for (const line of lines) console.note(line);
  if (conversations.length > 0) return { conversations, format };
  const plain = samples.some(({ kind }) => kind === "completion");
  throw new UserError(
    `${data} has no conversation: its records are ${plain ? "prompts and answers in plain text" : format}`,
    { hint: "give instructions, messages, or pairs of messages" },
  );
}

/** The sample as one of which these columns are read. */
function unreadBeside<S extends Located>({ unread = [], ...sample }: S, columns: Row["fields"]) {
  const left = unread.filter((name) => !Object.hasOwn(columns, name));
  return { ...sample, ...(left.length > 0 && { unread: left }) };
}
