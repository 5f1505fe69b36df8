/** The examples of a stage: its data files read, converted and encoded by one template, and split. */
import { z } from "zod";
import { subsetOf } from "../data/choose";
import { cuts } from "../data/cut";
import { encodeAll } from "../data/encode-samples";
import type { Example } from "../data/examples";
import { formats } from "../data/formats";
import type { Loaded } from "../data/loaded";
import { addReports, reportLines } from "../data/report";
import { loadSamples } from "../data/samples";
import { templateFor } from "../data/template-for";
import { percentages } from "../log/console";
import { withTemplate } from "../text/tokenizer";
import type { Context } from "./context";
import { nothingLeft, type Read, split } from "./split";

/** The keys of a config that say what the records are and how they are rendered. */
export const records = {
  data: z.union([z.string(), z.array(z.string()).min(1)]).meta({
    description:
      "JSON, JSONL, CSV, TSV or Parquet (.gz too) of instructions, conversations, text, or pairs, of which the chosen answers are learned; or the name of a data set",
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

export async function readExamples(
  config: RecordsConfig,
  { tokenizer, console, find, seed }: Context,
  tokens: number,
): Promise<Read<Example>> {
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
    if (examples.length === 0) throw nothingLeft(path, "example", report);
    return { examples, report };
  };
  const parts = [];
  for (const { path, ...loaded } of files) {
    const samples = config.subset
      ? subsetOf(loaded.samples, Math.ceil(config.subset / files.length), seed, ({ where }) => where)
      : loaded.samples;
    const { examples, report } = await encode({ ...loaded, samples }, path);
    const chosen = samples.length < loaded.samples.length ? `, ${samples.length} samples chosen by seed` : "";
    lines.push(...reportLines(report, `${path} (${loaded.said ?? loaded.format}${chosen})`));
    parts.push({ examples, report });
  }
  if (parts.length > 1)
    lines.push(...reportLines(parts.map(({ report }) => report).reduce(addReports), "in all").slice(0, 1));
  console.done();
  const all = parts.flatMap(({ examples }) => examples);
  const parted = await split(all, {
    validation,
    seed,
    keyOf: ({ where }) => where,
    alone: "one record cannot be split",
    async read(path) {
      const { examples, report } = await encode(await load(path), path);
      lines.push(...reportLines(report, path));
      return examples;
    },
  });
  return { ...parted, template, tokenizer: withTemplate(tokenizer, template.source), lines };
}
