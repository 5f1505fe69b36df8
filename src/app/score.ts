/** The scores that a reward model gives to the texts, conversations or pairs of a file. */

import { encodeWhole } from "../data/examples";
import { encodePreferences } from "../data/preference-examples";
import { preferencesIn } from "../data/preference-samples";
import { arePreferences } from "../data/preferred";
import { readRecords } from "../data/records";
import { type Report, reportLines, reportOf } from "../data/report";
import type { BadRow } from "../data/row";
import { samplesIn } from "../data/samples";
import { templateFor } from "../data/template-for";
import type { Device } from "../device/device";
import { UserError } from "../errors";
import { type Interval, interval } from "../eval/interval";
import { type Normalisation, raw, readNormalisation } from "../formats/normalisation";
import type { Reporter } from "../log/console";
import { normalisedScores } from "../stages/evals/normalised-scores";
import { answerEnds } from "../text/answer";
import type { Encoded } from "../text/template";
import { locateData } from "./locate";
import type { OpenModel } from "./model";

export interface ScoreOptions {
  readonly data: string;
  readonly template: string;
  readonly strict: boolean;
  /** As the head gives them. */
  readonly raw: boolean;
  /** Sequences that run together. */
  readonly batch: number;
}

export interface ScoredText {
  readonly where: string;
  readonly score: number;
}

export interface ScoredPair {
  readonly where: string;
  readonly chosen: number;
  readonly rejected: number;
}

/** How often the chosen answer has the higher score, and how often it is the longer one; a tie is half of each. */
export interface PairFigures {
  readonly accuracy: Interval;
  readonly longer: Interval;
  /** The same of pairs whose answers differ in their length by 10% at most; null where there are none. */
  readonly matched: { readonly accuracy: Interval; readonly longer: Interval } | null;
  readonly margin: number;
}

export interface Scores {
  readonly lines: readonly string[];
  readonly texts: readonly ScoredText[];
  readonly pairs: readonly ScoredPair[];
  readonly normalisation: Normalisation;
  /** Of pairs alone. */
  readonly figures: PairFigures | null;
}

export async function scoreFile(
  opened: OpenModel & { readonly device: Device },
  { data, template: wanted, strict, raw: asTheyAre, batch }: ScoreOptions,
  console: Reporter,
): Promise<Scores> {
  const { tokenizer, model } = opened;
  const normalisation = asTheyAre ? raw : savedNormalisation(opened);
  const tokens = model.config.context;
  const trees = { paths: "best", lang: "", quality: 0 } as const;
  const records = await readRecords(await locateData(data, console), data);
  if (arePreferences(records.rows)) {
    const loaded = preferencesIn(records, data, { trees, strict });
    const template = templateFor(wanted, "messages", tokenizer);
    const encoding = { tokenizer, template, tokens, overlong: "drop", strict } as const;
    const { pairs, judged, report } = await encodePreferences(loaded, encoding);
    const lines = reportLines(report, data, pairs.length > 0 ? "pairs" : "answers");
    const scores = await scored([
      ...pairs.flatMap(({ chosen, rejected }) => [chosen.ids, rejected.ids]),
      ...judged.map(({ answer }) => answer.ids),
    ]);
    const ends = answerEnds(tokenizer, template).ids;
    const lengthOf = ({ ids, trained }: (typeof pairs)[number]["chosen"]) =>
      tokenizer.decode([...ids].filter((id, i) => trained[i] && !ends.has(id))).trim().length;
    const compared = pairs.map(({ chosen, rejected, where }, i) => ({
      where,
      chosen: scores[2 * i]!,
      rejected: scores[2 * i + 1]!,
      lengths: [lengthOf(chosen), lengthOf(rejected)] as const,
    }));
    return {
      lines,
      normalisation,
      texts: judged.map(({ where }, i) => ({ where, score: scores[2 * pairs.length + i]! })),
      pairs: compared.map(({ lengths: _, ...one }) => one),
      figures: compared.length > 0 ? figuresOf(compared) : null,
    };
  }
  const loaded = samplesIn(records, data, { trees, strict });
  const template = templateFor(wanted, loaded.format, tokenizer);
  const problems: BadRow[] = [...loaded.bad];
  const taken = loaded.samples.flatMap((sample) => {
    const whole: Encoded = encodeWhole(sample, tokenizer, template);
    if (whole.ids.length <= tokens) return [{ ...sample, ids: Uint32Array.from(whole.ids) }];
    const problem = `it has ${whole.ids.length} tokens, and the model's context is ${tokens}`;
    if (strict) throw new UserError(`${sample.where}: ${problem}`, { hint: "without --strict it is left out" });
    problems.push({ where: sample.where, problem });
    return [];
  });
  const report: Report = reportOf(loaded.read, taken, problems);
  const scores = await scored(taken.map(({ ids }) => ids));
  return {
    lines: reportLines(report, data, "texts"),
    normalisation,
    texts: taken.map(({ where }, i) => ({ where, score: scores[i]! })),
    pairs: [],
    figures: null,
  };

  async function scored(sequences: readonly Uint32Array[]): Promise<number[]> {
    if (sequences.length === 0) throw new UserError(`${data}: nothing is left to be scored`);
    return normalisedScores(opened, sequences, { rows: batch, normalisation, says: `scoring ${data}` }, console);
  }
}

/** Those that its files say; raw where they say none. */
export function savedNormalisation({ parts }: Pick<OpenModel, "parts">): Normalisation {
  return readNormalisation(parts.adapters.at(-1) ?? parts.base) ?? raw;
}

/** Answers of like length differ by so much at most. */
const LIKE = 0.1;

interface Compared extends ScoredPair {
  readonly lengths: readonly [chosen: number, rejected: number];
}

export function figuresOf(pairs: readonly Compared[]): PairFigures {
  const points = (a: number, b: number) => (Math.sign(a - b) + 1) / 2;
  const of = (some: readonly Compared[]) => ({
    accuracy: interval(some.map(({ chosen, rejected }) => points(chosen, rejected)))!,
    longer: interval(some.map(({ lengths: [a, b] }) => points(a, b)))!,
  });
  const like = pairs.filter(({ lengths: [a, b] }) => Math.abs(a - b) <= LIKE * Math.max(a, b));
  return {
    ...of(pairs),
    matched: like.length > 0 ? of(like) : null,
    margin: pairs.reduce((sum, { chosen, rejected }) => sum + chosen - rejected, 0) / pairs.length,
  };
}
