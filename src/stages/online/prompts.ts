/** The prompts of a stage: its data files read, encoded by one template, and split. */
import type { z } from "zod";
import { holdOut, subsetOf } from "../../data/choose";
import { areTurns, type PromptExample, promptsIn } from "../../data/prompts";
import { readRecords } from "../../data/records";
import { reportLines } from "../../data/report";
import type { Rows } from "../../data/row";
import { templateFor } from "../../data/template-for";
import { UserError } from "../../errors";
import { type ChatTemplate, savedTemplate } from "../../text/template";
import { type Tokenizer, withTemplate } from "../../text/tokenizer";
import type { Context } from "../context";
import { records } from "../examples";
import { NO_VALIDATION } from "../model-settings";

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

export interface Asking {
  readonly train: readonly PromptExample[];
  readonly held: readonly PromptExample[];
  readonly template: ChatTemplate;
  readonly tokenizer: Tokenizer;
  /** What became of the records. */
  readonly lines: readonly string[];
}

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
    if (prompts.length === 0)
      throw new UserError(`${path}: no prompt is left`, {
        hint: reportLines(report, path)
          .slice(1)
          .map((line) => line.trim())
          .join("; "),
      });
    lines.push(...reportLines(report, path, "prompts"));
    return prompts;
  };
  const all = subsetOf(files.flatMap(encoded), subset, seed, ({ where }) => where);
  const made = { template, tokenizer: own, lines };
  if (validation === NO_VALIDATION) return { train: all, held: [], ...made };
  if (typeof validation === "string") {
    const held = encoded({ path: validation, rows: await readRecords(await find(validation), validation) });
    return { train: all, held, ...made };
  }
  const keyOf = ({ ids }: PromptExample) => ids.join();
  if (new Set(all.map(keyOf)).size < 2)
    throw new UserError("there is one prompt, and it cannot be split", {
      hint: "give validation a file, or more data",
    });
  return { ...holdOut(all, validation, seed, keyOf), ...made };
}
