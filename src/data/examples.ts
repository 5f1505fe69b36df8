/** Samples as tokens to learn from: rendered by a template, encoded, cut to length; what could not be used is counted. */
import { UserError } from "../errors";
import { answerEnds } from "../text/answer";
import { TemplateLimitError } from "../text/jinja";
import type { ChatTemplate, Encoded } from "../text/template";
import type { Tokenizer } from "../text/tokenizer";
import { type cuts, cutTo } from "./cut";
import type { Dealt } from "./deal";
import { endsOpen, specialsIn, withoutEnds } from "./end-tokens";
import type { Located, Sample } from "./formats";
import type { Loaded } from "./loaded";
import { type Report, reportOf, stopped } from "./report";
import type { BadRow } from "./row";

export interface Example {
  readonly ids: Uint32Array;
  /** 1 where the token is to be predicted, else 0. Never the first: nothing is before it. */
  readonly trained: Uint8Array;
  /** Tokens that are to be predicted. */
  readonly targets: number;
  readonly where: string;
}

/** An example as it is dealt. */
export function dealt({ ids, targets, where }: Example): Dealt {
  return { size: ids.length, targets, where };
}

export interface EncodeOptions {
  readonly tokenizer: Tokenizer;
  readonly template: ChatTemplate;
  /** Tokens of an example at most. */
  readonly tokens: number;
  readonly cut: (typeof cuts)[number];
  readonly strict: boolean;
}

export interface Examples {
  readonly examples: readonly Example[];
  readonly report: Report;
}

/** Encodes samples. A template that fails on one is a reason to skip that one. */
export function encodeSamples(
  { samples, read, bad }: Loaded,
  { tokenizer, template, tokens, cut: how, strict }: EncodeOptions,
): Examples {
  const examples: Example[] = [];
  const problems = [...bad];
  const told: BadRow[] = [];
  const ends = how === "ended" ? answerEnds(tokenizer, template).ids : undefined;
  const taken: Located[] = [];
  let cut = 0;
  let cutTokens = 0;
  let open = 0;
  samples.forEach((given) => {
    const sample = withoutEnds(given, tokenizer, template);
    const problem = (problem: string) => {
      if (strict) throw stopped({ where: sample.where, problem });
      problems.push({ where: sample.where, problem });
    };
    let whole: Encoded;
    try {
      whole = encodeWhole(given, tokenizer, template);
    } catch (error) {
      // A template without end would not end on the next record either.
      if (!(error instanceof UserError) || error instanceof TemplateLimitError) throw error;
      problem(error.message);
      return;
    }
    const used = cutTo(whole, tokens, ends);
    if (used === null) {
      problem(
        whole.trained.some(Boolean) ? `no answer begins within ${tokens} tokens` : "nothing of it is to be learned",
      );
      return;
    }
    const lost = whole.ids.length - used.ids.length;
    if (lost > 0) {
      if (strict)
        throw stopped({ where: sample.where, problem: `it has ${whole.ids.length} tokens, and ${tokens} are allowed` });
      cut++;
      cutTokens += lost;
      if (used.open) open++;
    }
    taken.push(sample);
    examples.push(exampleOf(used, sample.where));
    const [special] = specialsIn(sample, tokenizer);
    if (special)
      told.push({
        where: sample.where,
        problem: `the letters ${JSON.stringify(special)} in it are read as plain text`,
      });
  });
  return { examples, report: { ...reportOf(read, taken, problems, told), cut, cutTokens, open } };
}

/** A sample as it is before it is cut, with its end. Throws a UserError where the template fails on it. */
export function encodeWhole(given: Sample, tokenizer: Tokenizer, template: ChatTemplate): Encoded {
  const sample = withoutEnds(given, tokenizer, template);
  const whole = encodeSample(sample, tokenizer, template);
  return endsOpen(given, sample, template) ? withEnd(whole, tokenizer) : whole;
}

function encodeSample(sample: Sample, tokenizer: Tokenizer, template: ChatTemplate): Encoded {
  if (sample.kind === "messages") return withoutTail(template.encode(sample.messages, sample.unlearned));
  const prompt = sample.kind === "completion" ? tokenizer.encode(sample.prompt) : [];
  const answer = tokenizer.encode(sample.kind === "completion" ? sample.completion : sample.text);
  if (tokenizer.endOfText !== null) answer.push(tokenizer.endOfText);
  const ids = [...prompt, ...answer];
  return { ids, trained: ids.map((_, i) => i >= Math.max(1, prompt.length)) };
}

function withEnd({ ids, trained }: Encoded, { endOfText }: Tokenizer): Encoded {
  return endOfText === null ? { ids, trained } : { ids: [...ids, endOfText], trained: [...trained, true] };
}

/** What stands behind the last answer teaches nothing. */
function withoutTail({ ids, trained }: Encoded): Encoded {
  const end = trained.lastIndexOf(true) + 1;
  return { ids: ids.slice(0, end), trained: trained.slice(0, end) };
}

export function exampleOf({ ids, trained }: Encoded, where: string): Example {
  const flags = Uint8Array.from(trained, (flag, i) => (flag && i > 0 ? 1 : 0));
  return { ids: Uint32Array.from(ids), trained: flags, targets: flags.reduce((sum, flag) => sum + flag, 0), where };
}
