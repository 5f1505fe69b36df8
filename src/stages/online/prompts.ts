/** The prompts of a stage: its data files read, encoded by one template, and split. */
import type { z } from "zod";
import { subsetOf } from "../../data/choose";
import { areTurns, type PromptExample, promptsIn } from "../../data/prompts";
import { readRecords } from "../../data/records";
import { reportLines } from "../../data/report";
import type { Rows } from "../../data/row";
import { templateFor } from "../../data/template-for";
import { savedTemplate } from "../../text/template";
import { withTemplate } from "../../text/tokenizer";
import type { Context } from "../context";
import { records } from "../examples";
import { nothingLeft, type Read, split } from "../split";

const { data, template, validation, subset, strict } = records;

/** The keys of a config that say what is asked. */
export const prompts = {
  data: data.meta({
    description:
      "JSON, JSONL, CSV, TSV or Parquet (.gz too) of prompts: prompt, instruction, question or messages, with or without an answer; or the name of a data set",
    neutral: true,
  }),
  template: template.unwrap().default("auto").meta({
    description: "alpaca, instruction, chat, or a Jinja file; auto takes the model's own, else chat",
  }),
  validation: validation.unwrap().default(0.05).meta({
    description: "share of the prompts that is held out, by seed, or a data file; none evaluates nothing",
  }),
  subset,
  strict,
};

type PromptsConfig = z.infer<z.ZodObject<typeof prompts>>;

export type Asking = Read<PromptExample>;

/** `tokens`: of a prompt at most. */
export async function readPrompts(
  config: PromptsConfig,
  { tokenizer, find, seed }: Context,
  tokens: number,
): Promise<Asking> {
  const { strict, validation, subset } = config;
  const files: { readonly path: string; readonly rows: Rows }[] = [];
  for (const path of [config.data].flat()) files.push({ path, rows: await readRecords(await find(path), path) });
  const template = templateFor(config.template, "messages", tokenizer);
  // Plain text is rendered by no template: a model that has none gets none.
  const turns = files.some(({ rows }) => areTurns(rows));
  const own = turns || savedTemplate(tokenizer) !== null ? withTemplate(tokenizer, template.source) : tokenizer;
  const lines: string[] = [];
  const encoded = ({ path, rows }: (typeof files)[number]) => {
    const { prompts, report } = promptsIn(rows, { tokenizer, template, tokens, strict });
    if (prompts.length === 0) throw nothingLeft(path, "prompt", report);
    lines.push(...reportLines(report, path, "prompts"));
    return prompts;
  };
  const all = subsetOf(files.flatMap(encoded), subset, seed, ({ where }) => where);
  const parted = await split(all, {
    validation,
    seed,
    keyOf: ({ ids }) => ids.join(),
    alone: "there is one prompt, and it cannot be split",
    read: async (path) => encoded({ path, rows: await readRecords(await find(path), path) }),
  });
  return { ...parted, template, tokenizer: own, lines };
}
