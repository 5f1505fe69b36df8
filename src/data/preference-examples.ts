/** Preferences as tokens: each side rendered by a template, encoded, cut to length; what could not be used is counted. */
import { UserError } from "../errors";
import { TemplateLimitError } from "../text/jinja";
import type { ChatTemplate, Encoded } from "../text/template";
import type { Tokenizer } from "../text/tokenizer";
import { tick } from "../tick";
import { type Cut, cutTo } from "./cut";
import { specialsIn, withoutEnds } from "./end-tokens";
import { encodeWhole, exampleOf } from "./examples";
import type { Sample } from "./formats";
import type { JudgedExample, PairExample } from "./pairs";
import type { LoadedPreferences } from "./preference-samples";
import type { LocatedPreference } from "./preferred";
import { type Report, reportOf, stopped } from "./report";
import type { BadRow } from "./row";

export interface PreferenceEncoding {
  readonly tokenizer: Tokenizer;
  readonly template: ChatTemplate;
  /** Tokens of a prompt with its answer at most. */
  readonly tokens: number;
  /** What is longer is cut and left open, or left out. */
  readonly overlong: "cut" | "drop";
  readonly strict: boolean;
  readonly onProgress?: (done: number, total: number) => void;
}

export interface PreferenceExamples {
  readonly pairs: readonly PairExample[];
  readonly judged: readonly JudgedExample[];
  readonly report: Report;
}

/** Preferences that are encoded in one go. */
const TOGETHER = 64;

export async function encodePreferences(
  { preferences, read, bad }: Pick<LoadedPreferences, "preferences" | "read" | "bad">,
  options: PreferenceEncoding,
): Promise<PreferenceExamples> {
  const { tokenizer, template, strict, onProgress } = options;
  const pairs: PairExample[] = [];
  const judged: JudgedExample[] = [];
  const taken: LocatedPreference[] = [];
  const problems = [...bad];
  const told: BadRow[] = [];
  const lost = { cut: 0, cutTokens: 0, open: 0 };
  for (const [i, preference] of preferences.entries()) {
    if (i % TOGETHER === TOGETHER - 1) {
      onProgress?.(i, preferences.length);
      await tick();
    }
    const { where, prompt } = preference;
    const found = preference.kind === "pair" ? pairOf(preference, options) : labelledOf(preference, options);
    if (typeof found === "string") {
      if (strict) throw stopped({ where, problem: found });
      problems.push({ where, problem: found });
      continue;
    }
    const cut = found.sides.filter(({ missing }) => missing > 0);
    if (strict && cut.length > 0)
      throw stopped({ where, problem: `an answer is ${cut[0]!.missing} tokens longer than ${options.tokens}` });
    lost.cut += cut.length;
    lost.cutTokens += cut.reduce((sum, { missing }) => sum + missing, 0);
    lost.open += cut.filter(({ open }) => open).length;
    taken.push(preference);
    if (found.differs) told.push({ where, problem: "the template does not render the prompt of both sides alike" });
    const [special] = samplesOf(preference).flatMap((sample) =>
      specialsIn(withoutEnds(sample, tokenizer, template), tokenizer),
    );
    if (special) told.push({ where, problem: `the letters ${JSON.stringify(special)} in it are read as plain text` });
    const [first, second] = found.sides.map((side) => exampleOf(side, where));
    if (preference.kind === "pair")
      pairs.push({ chosen: first!, rejected: second!, margin: preference.margin, prompt, where });
    else judged.push({ answer: first!, good: preference.good, prompt, where });
  }
  return { pairs, judged, report: { ...reportOf(read, taken, problems, told), ...lost } };
}

function samplesOf(preference: LocatedPreference): readonly Sample[] {
  return preference.kind === "pair" ? [preference.chosen, preference.rejected] : [preference.answer];
}

interface Fitted extends Cut {
  /** Tokens that were cut. */
  readonly missing: number;
}

interface Found {
  readonly sides: readonly Fitted[];
  /** What comes before the answers is not the same. */
  readonly differs: boolean;
}

function pairOf(
  { chosen, rejected }: LocatedPreference & { readonly kind: "pair" },
  options: PreferenceEncoding,
): Found | string {
  const [better, worse] = [wholeOf(chosen, options), wholeOf(rejected, options)];
  if (typeof better === "string") return `chosen: ${better}`;
  if (typeof worse === "string") return `rejected: ${worse}`;
  if (sameIds(better, worse)) return "the two sides are the same as tokens";
  const [first, second] = [fitted(better, options), fitted(worse, options)];
  if (typeof first === "string") return `chosen: ${first}`;
  if (typeof second === "string") return `rejected: ${second}`;
  if (sameIds(first, second)) return `the two sides are the same once they are cut to ${options.tokens} tokens`;
  return { sides: [first, second], differs: !sameIds(promptOf(better), promptOf(worse)) };
}

function labelledOf(
  { answer }: LocatedPreference & { readonly kind: "labelled" },
  options: PreferenceEncoding,
): Found | string {
  const whole = wholeOf(answer, options);
  if (typeof whole === "string") return whole;
  const side = fitted(whole, options);
  return typeof side === "string" ? side : { sides: [side], differs: false };
}

function wholeOf(sample: Sample, { tokenizer, template }: PreferenceEncoding): Encoded | string {
  try {
    return encodeWhole(sample, tokenizer, template);
  } catch (error) {
    // A template without end would not end on the next record either.
    if (!(error instanceof UserError) || error instanceof TemplateLimitError) throw error;
    return error.message;
  }
}

function fitted(whole: Encoded, { tokens, overlong }: PreferenceEncoding): Fitted | string {
  if (overlong === "drop" && whole.ids.length > tokens)
    return `it has ${whole.ids.length} tokens, and ${tokens} are allowed`;
  const used = cutTo(whole, tokens);
  if (used === null)
    return whole.trained.some(Boolean) ? `no answer begins within ${tokens} tokens` : "nothing of it is to be learned";
  return { ...used, missing: whole.ids.length - used.ids.length };
}

function promptOf({ ids, trained }: Encoded): Pick<Encoded, "ids"> {
  return { ids: ids.slice(0, trained.indexOf(true)) };
}

function sameIds(a: Pick<Encoded, "ids">, b: Pick<Encoded, "ids">): boolean {
  return a.ids.length === b.ids.length && a.ids.every((id, i) => id === b.ids[i]);
}
