/** The preferences of a stage: its data files read, converted and encoded by one template, and split. */
import type { JudgedExample, PairExample } from "../data/pairs";
import type { ChatTemplate } from "../text/template";
import type { Tokenizer } from "../text/tokenizer";
import type { Context } from "./context";
import { records } from "./examples";

const { data, template, validation, subset, strict } = records;
export const preferences = { data, template, validation, subset, strict };

export async function readPairs(
  _config: unknown,
  _context: Context,
  _tokens: number,
  _how: { readonly overlong: "cut" | "drop" },
): Promise<{
  train: PairExample[];
  held: PairExample[];
  template: ChatTemplate;
  tokenizer: Tokenizer;
  lines: string[];
}> {
  throw new Error("to come");
}

export async function readJudged(
  _config: unknown,
  _context: Context,
  _tokens: number,
): Promise<{
  train: JudgedExample[];
  held: JudgedExample[];
  template: ChatTemplate;
  tokenizer: Tokenizer;
  lines: string[];
}> {
  throw new Error("to come");
}
