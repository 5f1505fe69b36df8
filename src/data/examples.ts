/** Records of data files as tokens to learn from: read, converted, encoded, cut to length, split; and a report of what became of each. */
import { UserError } from "../errors";
import { randomAt } from "../ops/random";
import type { ChatTemplate, Encoded } from "../text/template";
import type { Tokenizer } from "../text/tokenizer";
import { convert, type Format, type Located, recognise, unusedFields } from "./formats";
import type { TreeOptions } from "./oasst";
import { type BadRow, readRows } from "./rows";

export interface Example {
  readonly ids: Uint32Array;
  /** 1 where the token is to be predicted, else 0. Never the first: nothing is before it. */
  readonly trained: Uint8Array;
  /** Tokens that are to be predicted. */
  readonly targets: number;
  readonly where: string;
}

/** What became of the records. */
export interface Report {
  readonly read: number;
  readonly used: number;
  /** Examples that were longer than allowed, and the tokens that they lost. */
  readonly cut: number;
  readonly cutTokens: number;
  /** By reason: how many, and the first of them. */
  readonly skipped: ReadonlyMap<string, { readonly count: number; readonly first: BadRow }>;
}

export interface LoadOptions {
  readonly trees: TreeOptions;
  /** What the records are; found by their fields if absent. */
  readonly format?: Format | undefined;
  /** Stops at the first record that cannot be used. */
  readonly strict: boolean;
  /** What the file is called in messages. */
  readonly name?: string;
}

export interface Loaded {
  readonly format: Format;
  readonly read: number;
  /** Fields that are not read. */
  readonly unused: readonly string[];
  readonly samples: readonly Located[];
  readonly bad: readonly BadRow[];
}

/** The samples of a data file. */
export async function loadSamples(
  file: string,
  { format: forced, trees, strict, name: path = file }: LoadOptions,
): Promise<Loaded> {
  const { rows, bad } = await readRows(file, path);
  if (rows.length === 0) throw new UserError(`${path} has no record: ${bad[0]?.problem ?? "it is empty"}`);
  const format = forced ?? recognise(rows);
  const converted = convert(rows, format, trees);
  const all = [...bad, ...converted.bad];
  if (strict && all.length) throw stopped(all[0]!);
  if (converted.samples.length === 0)
    throw new UserError(`${path} has no record that can be used as ${format}: ${all[0]!.where}: ${all[0]!.problem}`);
  return {
    format,
    unused: unusedFields(rows, format),
    read: converted.read + bad.length,
    samples: converted.samples,
    bad: all,
  };
}

function stopped({ where, problem }: BadRow): UserError {
  return new UserError(`${where}: ${problem}`, { hint: "without --strict such records are skipped and counted" });
}

export interface EncodeOptions {
  readonly tokenizer: Tokenizer;
  readonly template: ChatTemplate;
  /** Tokens of an example at most. */
  readonly tokens: number;
  readonly strict: boolean;
  readonly onProgress?: (done: number, total: number) => void;
}

export interface Examples {
  readonly examples: readonly Example[];
  readonly report: Report;
}

/** Encodes samples. A template that fails on one is a reason to skip that one. */
export function encodeSamples(
  { samples, read, bad }: Loaded,
  { tokenizer, template, tokens, strict, onProgress = () => {} }: EncodeOptions,
): Examples {
  const examples: Example[] = [];
  const problems = [...bad];
  const ends = endIds(tokenizer, template);
  let cut = 0;
  let cutTokens = 0;
  samples.forEach((sample, i) => {
    const problem = (problem: string) => {
      if (strict) throw stopped({ where: sample.where, problem });
      problems.push({ where: sample.where, problem });
    };
    let whole: Encoded;
    try {
      whole = encodeSample(sample, tokenizer, template);
    } catch (error) {
      if (!(error instanceof UserError)) throw error;
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
    }
    examples.push(exampleOf(used, sample.where));
    if (i % 256 === 0) onProgress(i, samples.length);
  });
  return { examples, report: { ...reportOf(read, examples.length, problems), cut, cutTokens } };
}

function encodeSample(sample: Located, tokenizer: Tokenizer, template: ChatTemplate): Encoded {
  if (sample.kind === "messages") {
    const given = sample.messages.slice(0, sample.given ?? 0).filter(({ role }) => role === "assistant");
    return withoutTail(untrained(template.encode(sample.messages), given.length));
  }
  const prompt = sample.kind === "completion" ? tokenizer.encode(sample.prompt) : [];
  const answer = tokenizer.encode(sample.kind === "completion" ? sample.completion : sample.text);
  if (tokenizer.endOfText !== null && answer.at(-1) !== tokenizer.endOfText) answer.push(tokenizer.endOfText);
  const ids = [...prompt, ...answer];
  return { ids, trained: ids.map((_, i) => i >= Math.max(1, prompt.length)) };
}

/** The first `count` answers are not learned. */
function untrained({ ids, trained }: Encoded, count: number): Encoded {
  let answer = 0;
  return {
    ids,
    trained: trained.map((flag, i) => {
      if (flag && !trained[i - 1]) answer++;
      return flag && answer > count;
    }),
  };
}

/** What stands behind the last answer teaches nothing. */
function withoutTail({ ids, trained }: Encoded): Encoded {
  const end = trained.lastIndexOf(true) + 1;
  return { ids: ids.slice(0, end), trained: trained.slice(0, end) };
}

/**
 * At most `most` tokens: the beginning, and behind it the end token, one of `ends`, with what the template trains after it. Where the
 * cut falls outside an answer, all from the last whole answer on is left out. Null where no token is left to learn.
 */
export function cutTo({ ids, trained }: Encoded, most: number, ends: ReadonlySet<number>): Encoded | null {
  if (!trained.some((flag, i) => flag && i > 0)) return null;
  if (ids.length <= most) return { ids, trained };
  const tail = endTokens({ ids, trained }, ends);
  const first = most - Math.max(1, tail);
  if (first >= 0 && trained.slice(first, most).every(Boolean)) {
    if (most < 2 || !trained.slice(1, most).some(Boolean)) return null;
    return { ids: [...ids.slice(0, most - tail), ...ids.slice(ids.length - tail)], trained: trained.slice(0, most) };
  }
  const before = trained.slice(0, trained.lastIndexOf(false, most - 1) + 1);
  const end = before.lastIndexOf(true) + 1;
  return end > 1 ? { ids: ids.slice(0, end), trained: trained.slice(0, end) } : null;
}

/** Tokens that end an answer. */
function endIds(tokenizer: Tokenizer, { end }: ChatTemplate): ReadonlySet<number> {
  return new Set([tokenizer.endOfText, end?.id].filter((id) => id !== null && id !== undefined));
}

/** How many tokens the end of the last answer has: from the end token on. None where the answer has no such token. */
function endTokens(
  { ids, trained }: { readonly ids: ArrayLike<number>; readonly trained: ArrayLike<unknown> },
  ends: ReadonlySet<number>,
): number {
  for (let at = ids.length - 1; at >= 0 && trained[at]; at--) if (ends.has(ids[at]!)) return ids.length - at;
  return 0;
}

/** Whether the end of an example's last answer is trained. */
export function endsItself(example: Example, tokenizer: Tokenizer, template: ChatTemplate): boolean {
  if (endTokens(example, endIds(tokenizer, template)) > 0) return true;
  const { ids, trained } = example;
  const { end } = template;
  if (trained.at(-1) !== 1 || end === null || end.id !== null) return false;
  return tokenizer
    .decode([...ids.slice(-2 * Buffer.byteLength(end.text))])
    .trimEnd()
    .endsWith(end.text);
}

function exampleOf({ ids, trained }: Encoded, where: string): Example {
  const flags = Uint8Array.from(trained, (flag, i) => (flag && i > 0 ? 1 : 0));
  return { ids: Uint32Array.from(ids), trained: flags, targets: flags.reduce((sum, flag) => sum + flag, 0), where };
}

/** What became of records of which none was cut. */
export function reportOf(read: number, used: number, bad: readonly BadRow[]): Report {
  return { read, used, cut: 0, cutTokens: 0, skipped: grouped(bad) };
}

/** Reasons that differ only in numbers and names are one. */
function grouped(problems: readonly BadRow[]): Report["skipped"] {
  const groups = new Map<string, { count: number; first: BadRow }>();
  for (const first of problems) {
    const reason = first.problem
      .replace(/ \(it has .*\)$/, "")
      .replace(/"[^"]*"/g, "...")
      .replace(/turn \d+/, "a turn");
    const group = groups.get(reason);
    if (group) group.count++;
    else groups.set(reason, { count: 1, first });
  }
  return groups;
}

/** The report as lines to be read. */
export function reportLines({ read, used, cut, cutTokens, skipped }: Report, what: string): string[] {
  const all = [...skipped.values()].reduce((sum, { count }) => sum + count, 0);
  const lost = cut > 0 ? `, ${cut} cut by ${cutTokens} tokens in all` : "";
  return [
    `${what}: ${read} records read, ${used} examples${lost}${all > 0 ? `, ${all} skipped` : ""}`,
    ...[...skipped.values()].map(
      ({ count, first }) => `  skipped ${count}: ${count > 1 ? "first " : ""}${first.where}: ${first.problem}`,
    ),
  ];
}

export function addReports(a: Report, b: Report): Report {
  const skipped = new Map(a.skipped);
  for (const [reason, { count, first }] of b.skipped) {
    const before = skipped.get(reason);
    skipped.set(reason, before ? { ...before, count: before.count + count } : { count, first });
  }
  return {
    read: a.read + b.read,
    used: a.used + b.used,
    cut: a.cut + b.cut,
    cutTokens: a.cutTokens + b.cutTokens,
    skipped,
  };
}

/** A permutation of 0 to count - 1: a function of seed and stream. */
export function shuffled(count: number, seed: number, stream: number): number[] {
  const order = Array.from({ length: count }, (_, i) => i);
  for (let i = count - 1; i > 0; i--) {
    const j = Math.floor(randomAt(seed, stream, i) * (i + 1));
    [order[i], order[j]] = [order[j]!, order[i]!];
  }
  return order;
}

/** The held-out share, and the rest, each in the order that it was in. Items of one key, such as one record, stay together. */
export function holdOut<T>(
  items: readonly T[],
  share: number,
  seed: number,
  keyOf: (item: T) => unknown = (item) => item,
): { readonly train: T[]; readonly held: T[] } {
  const keys = [...new Set(items.map(keyOf))];
  const count = Math.min(keys.length - 1, Math.max(1, Math.round(keys.length * share)));
  const chosen = chosenOf(keys, count, seed, 101);
  return {
    train: items.filter((item) => !chosen.has(keyOf(item))),
    held: items.filter((item) => chosen.has(keyOf(item))),
  };
}

/** Items of `count` keys, chosen by seed; all if there are no more. */
export function subsetOf<T>(
  items: readonly T[],
  count: number,
  seed: number,
  keyOf: (item: T) => unknown = (item) => item,
): T[] {
  const keys = [...new Set(items.map(keyOf))];
  if (count === 0 || count >= keys.length) return [...items];
  const chosen = chosenOf(keys, count, seed, 102);
  return items.filter((item) => chosen.has(keyOf(item)));
}

function chosenOf<K>(keys: readonly K[], count: number, seed: number, stream: number): ReadonlySet<K> {
  return new Set(
    shuffled(keys.length, seed, stream)
      .slice(0, count)
      .map((i) => keys[i]!),
  );
}
