/** The examples of a stage: its data files read, converted and encoded by one template, and split. */
import { z } from "zod";
import { holdOut, subsetOf } from "../data/choose";
import { cuts } from "../data/cut";
import { encodeAll } from "../data/encode-samples";
import type { Example } from "../data/examples";
import { formats } from "../data/formats";
import { addReports, reportLines } from "../data/report";
import { type Loaded, loadSamples } from "../data/samples";
import { templateFor } from "../data/template-for";
import { UserError } from "../errors";
import { percentages } from "../log/console";
import type { ChatTemplate } from "../text/template";
import { type Tokenizer, withTemplate } from "../text/tokenizer";
import type { Context } from "./context";
import { NO_VALIDATION } from "./model-settings";

/** The keys of a config that say what the records are and how they are rendered. */
export const records = {
  data: z.union([z.string(), z.array(z.string()).min(1)]).meta({
    description:
      "JSON, JSONL, CSV, TSV or Parquet (.gz too) of instructions, conversations or text; or the name of a data set",
    // Its contents count, not its name.
    neutral: true,
  }),
  format: z
    .enum(["auto", ...formats])
    .default("auto")
    .meta({ description: "what the records are; auto goes by their fields" }),
  template: z.string().min(1).default("auto").meta({
    description:
      "alpaca, instruction, chat, or a Jinja file; auto takes the model's own, else alpaca or instruction for such records and chat for others",
  }),
  trees: z
    .strictObject({
      paths: z
        .enum(["best", "all"])
        .default("best")
        .meta({ description: "message trees: the best answers, or every way" }),
      lang: z.string().default("").meta({ description: "message trees: only this language, such as en" }),
      quality: z
        .number()
        .min(0)
        .max(1)
        .default(0)
        .meta({ description: "message trees: the least quality by reviewers" }),
    })
    .prefault({}),
  validation: z
    .union([z.number().gt(0).lt(1), z.string()])
    .default(0.05)
    .meta({ description: "share of the examples that is held out, by seed, or a data file; none evaluates nothing" }),
  subset: z.int().min(0).default(0).meta({ description: "use only so many records, chosen by seed; 0 for all" }),
  cut: z.enum(cuts).default("open").meta({
    description:
      "an answer that is longer than its row: open, without an end token, or ended by one in the middle of its words",
  }),
  strict: z.boolean().default(false).meta({ description: "stop at the first record that cannot be used as it is" }),
};

type RecordsConfig = z.infer<z.ZodObject<typeof records>>;

export interface Data {
  readonly train: readonly Example[];
  readonly held: readonly Example[];
  readonly template: ChatTemplate;
  readonly tokenizer: Tokenizer;
  /** What became of the records. */
  readonly lines: string[];
}

export async function readExamples(
  config: RecordsConfig,
  { tokenizer, console, find, seed }: Context,
  tokens: number,
): Promise<Data> {
  const { cut, strict, trees, validation } = config;
  const format = config.format === "auto" ? undefined : config.format;
  const load = async (path: string) => loadSamples(await find(path), { format, trees, strict, name: path });
  const files: (Loaded & { readonly path: string })[] = [];
  for (const path of [config.data].flat()) files.push({ ...(await load(path)), path });
  const template = templateFor(config.template, files[0]!.format, tokenizer);
  const lines: string[] = [];
  const encode = async (loaded: Loaded, path: string) => {
    const onProgress = percentages(console, `tokenising ${path}`);
    const { examples, report } = await encodeAll(loaded, { tokenizer, template, tokens, cut, strict, onProgress });
    if (examples.length === 0)
      throw new UserError(`${path}: no example is left`, {
        hint: reportLines(report, path)
          .slice(1)
          .map((line) => line.trim())
          .join("; "),
      });
    return { examples, report };
  };
  const parts = [];
  for (const { path, ...loaded } of files) {
    const samples = config.subset
      ? subsetOf(loaded.samples, Math.ceil(config.subset / files.length), seed, ({ where }) => where)
      : loaded.samples;
    const { examples, report } = await encode({ ...loaded, samples }, path);
    const chosen = samples.length < loaded.samples.length ? `, ${samples.length} samples chosen by seed` : "";
    lines.push(...reportLines(report, `${path} (${loaded.format}${chosen})`));
    parts.push({ examples, report });
  }
  if (parts.length > 1)
    lines.push(...reportLines(parts.map(({ report }) => report).reduce(addReports), "in all").slice(0, 1));
  console.done();
  const all = parts.flatMap(({ examples }) => examples);
  const made = { template, tokenizer: withTemplate(tokenizer, template.source), lines };
  if (validation === NO_VALIDATION) return { train: all, held: [], ...made };
  if (typeof validation === "string") {
    const { examples, report } = await encode(await load(validation), validation);
    lines.push(...reportLines(report, validation));
    return { train: all, held: examples, ...made };
  }
  if (new Set(all.map(({ where }) => where)).size < 2)
    throw new UserError(`one record cannot be split`, { hint: "give validation a file, or more data" });
  const { train, held } = holdOut(all, validation, seed, ({ where }) => where);
  return { train, held, ...made };
}
