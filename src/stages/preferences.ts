/** The preferences of a stage: its data files read, converted and encoded by one template, and split by prompts. */
import { z } from "zod";
import { subsetOf } from "../data/choose";
import type { JudgedExample, PairExample } from "../data/pairs";
import { encodePreferences, type PreferenceExamples } from "../data/preference-examples";
import { type LoadedPreferences, loadPreferences } from "../data/preference-samples";
import { preferenceFormats, rankings } from "../data/preferred";
import { addReports, type Report, reportLines } from "../data/report";
import { templateFor } from "../data/template-for";
import { UserError } from "../errors";
import { percentages } from "../log/console";
import { withTemplate } from "../text/tokenizer";
import type { Context } from "./context";
import { records } from "./examples";
import { nothingLeft, type Read, split } from "./split";

const { data, template, trees, validation, subset, strict } = records;

/** The keys of a config that say what the records are and how they are rendered. */
export const preferences = {
  data: data.meta({
    description:
      "JSON, JSONL, CSV, TSV or Parquet (.gz too) of pairs of answers, or of answers with labels; or the name of a data set",
    neutral: true,
  }),
  format: z
    .enum(["auto", ...preferenceFormats])
    .default("auto")
    .meta({ description: "what the records are; auto goes by their fields" }),
  template: template.unwrap().default("auto").meta({
    description: "alpaca, instruction, chat, or a Jinja file; auto takes the model's own, else chat",
  }),
  ranked: z.enum(rankings).default("all").meta({
    description: "of answers with scores or ranks: every two that differ are a pair, or ends, the best with the worst",
  }),
  trees: trees.unwrap().omit({ paths: true }).prefault({}),
  validation: validation.unwrap().default(0.05).meta({
    description: "share of the prompts that is held out, by seed, or a data file; none evaluates nothing",
  }),
  subset,
  strict,
};

type PreferencesConfig = z.infer<z.ZodObject<typeof preferences>>;

export interface Overlong {
  /** What is done with a pair that is longer than a row: it is cut and left open, or left out. */
  readonly overlong: "cut" | "drop";
}

/** Pairs. Answers with labels are none, and are refused. */
export function readPairs(
  config: PreferencesConfig,
  context: Context,
  tokens: number,
  { overlong }: Overlong,
): Promise<Read<PairExample>> {
  return read(config, context, {
    tokens,
    overlong,
    unit: "pairs",
    take({ pairs, judged }, path) {
      if (judged.length === 0) return pairs;
      throw new UserError(`${path} has answers with labels, and pairs of answers are wanted`, {
        hint: "kto learns from answers that are good or bad alone",
        exitCode: 2,
      });
    },
  });
}

/** Answers that are good or bad; of pairs one of each. The same answer of a prompt counts once, whatever pairs it is in. */
export function readJudged(config: PreferencesConfig, context: Context, tokens: number): Promise<Read<JudgedExample>> {
  return read(config, context, { tokens, overlong: "cut", unit: "pairs or answers", take: judgedOf });
}

function judgedOf({ pairs, judged }: PreferenceExamples): readonly JudgedExample[] {
  const found = new Map<string, JudgedExample>();
  const add = (one: JudgedExample) => {
    const key = `${one.good} ${one.answer.ids.join()}`;
    if (!found.has(key)) found.set(key, one);
  };
  for (const { chosen, rejected, prompt, where } of pairs) {
    add({ answer: chosen, good: true, prompt, where });
    add({ answer: rejected, good: false, prompt, where });
  }
  return [...judged, ...found.values()];
}

interface How<T> extends Overlong {
  readonly tokens: number;
  readonly unit: string;
  take(found: PreferenceExamples, path: string): readonly T[];
}

async function read<T extends { readonly prompt: string }>(
  config: PreferencesConfig,
  { tokenizer, console, find, seed }: Context,
  { tokens, overlong, unit, take }: How<T>,
): Promise<Read<T>> {
  const { strict, validation, subset, ranked: ranking } = config;
  const trees = { ...config.trees, paths: "all" as const };
  const format = config.format === "auto" ? undefined : config.format;
  const load = async (path: string) =>
    loadPreferences(await find(path), { format, trees, strict, ranking, name: path });
  const files: (LoadedPreferences & { readonly path: string })[] = [];
  for (const path of [config.data].flat()) files.push({ ...(await load(path)), path });
  const template = templateFor(config.template, "messages", tokenizer);
  const lines: string[] = [];
  const encode = async (loaded: LoadedPreferences, path: string) => {
    const onProgress = percentages(console, `tokenising ${path}`);
    const found = await encodePreferences(loaded, { tokenizer, template, tokens, overlong, strict, onProgress });
    const taken = take(found, path);
    if (taken.length > 0) return { taken, report: found.report };
    throw nothingLeft(path, "preference", found.report);
  };
  const parts: { readonly taken: readonly T[]; readonly report: Report }[] = [];
  for (const { path, ...loaded } of files) {
    const share = Math.ceil(subset / files.length);
    const chosen = subset ? subsetOf(loaded.preferences, share, seed, ({ where }) => where) : loaded.preferences;
    const part = await encode({ ...loaded, preferences: chosen }, path);
    const some = chosen.length < loaded.preferences.length ? `, ${chosen.length} chosen by seed` : "";
    lines.push(...reportLines(part.report, `${path} (${loaded.format}${some})`, unit));
    parts.push(part);
  }
  if (parts.length > 1)
    lines.push(...reportLines(parts.map(({ report }) => report).reduce(addReports), "in all", unit).slice(0, 1));
  console.done();
  const all = parts.flatMap(({ taken }) => taken);
  const parted = await split(all, {
    validation,
    seed,
    keyOf: ({ prompt }) => prompt,
    alone: "the preferences are all about one prompt, and cannot be split",
    async read(path) {
      const { taken, report } = await encode(await load(path), path);
      lines.push(...reportLines(report, path, unit));
      return taken;
    },
  });
  return { ...parted, template, tokenizer: withTemplate(tokenizer, template.source), lines };
}
