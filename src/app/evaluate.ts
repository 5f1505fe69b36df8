/** Measuring an open model on a data file: the text that it predicts, and the answers that it gives. */
import { subsetOf } from "../data/choose";
import { readText, tokensIn } from "../data/corpus";
import { withoutEnds } from "../data/end-tokens";
import type { Located } from "../data/formats";
import { reportLines, reportOf } from "../data/report";
import { loadSamples } from "../data/samples";
import { templateFor } from "../data/template-for";
import type { Conversation } from "../data/turns";
import type { Device } from "../device/device";
import { UserError } from "../errors";
import { type Answer, answerAll, asked } from "../eval/answers";
import { type AnswerFigures, answerFigures, type TextFigures, textFigures } from "../eval/figures";
import { score } from "../eval/perplexity";
import { duration, type Reporter, throttled } from "../log/console";
import { records } from "../stages/examples";
import { locateData } from "./locate";
import type { OpenModel } from "./model";

export interface TextOptions {
  /** A text file. */
  readonly data: string;
  /** Tokens that a window sees, and tokens that it scores. */
  readonly context: number;
  readonly stride: number;
}

/** How well a model predicts a text. */
export async function measureText(
  opened: OpenModel & { readonly device: Device },
  { data, context, stride }: TextOptions,
  console: Reporter,
): Promise<TextFigures> {
  const text = await readText(await locateData(data, console), data);
  const ids = await tokensIn(text, { tokenizer: opened.tokenizer, onNote: console.note });
  const scored = await score(opened, ids, { context, stride, onProgress: countdown(console, "window") });
  console.done();
  return textFigures(scored, text, { context, stride });
}

export interface QuestionOptions {
  /** Instructions or conversations. */
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

const SUBSET_SEED = 1337;

/** How often a model's greedy answers are those of the data. */
export async function measureAnswers(
  opened: OpenModel,
  { data, template: wanted, limit, batch, maxTokens, ownHistory }: QuestionOptions,
  console: Reporter,
): Promise<MeasuredAnswers> {
  const { conversations, format } = await readConversations(data, console);
  const template = templateFor(wanted, format, opened.tokenizer);
  const chosen = subsetOf(conversations, limit, SUBSET_SEED).map((sample) =>
    withoutEnds(sample, opened.tokenizer, template),
  );
  const answered = await answerAll({ ...opened, template, context: opened.model.config.context }, chosen, {
    batch: Math.min(chosen.length, batch),
    maxTokens,
    ownHistory,
    onProgress: countdown(console, "answer"),
  });
  console.done();
  return { answers: answered.flat(), figures: answerFigures(answered, { ownHistory }) };
}

async function readConversations(data: string, console: Reporter) {
  const trees = records.trees.parse(undefined);
  const file = await locateData(data, console);
  const { samples, format, read, bad } = await loadSamples(file, { trees, strict: false, name: data });
  const conversations: (Conversation & Located)[] = [];
  const problems = [...bad];
  for (const sample of samples) {
    if (sample.kind !== "messages") problems.push({ where: sample.where, problem: "it is no conversation" });
    else if (asked(sample).length > 0) conversations.push(sample);
    else problems.push({ where: sample.where, problem: "nothing of it is to be learned" });
  }
  const lines = reportLines(reportOf(read, conversations, problems), data);
  if (lines.length > 1) for (const line of lines) console.note(line);
  if (conversations.length > 0) return { conversations, format };
  throw new UserError(`${data} has no conversation: its records are ${format}`, {
    hint: "give instructions or messages",
  });
}

/** `window 12/80  eta 1m05s` */
function countdown(console: Reporter, what: string): (done: number, total: number) => void {
  const start = performance.now();
  return throttled((done, total) => {
    const left = ((performance.now() - start) / 1000 / done) * (total - done);
    console.status(`${what} ${done}/${total}  eta ${duration(left)}`);
  });
}
