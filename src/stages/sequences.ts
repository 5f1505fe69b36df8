/** Tokens to measure a model on, or to calibrate by: a text in windows, or the answers of records. */
import { readText, tokensIn } from "../data/corpus";
import { encodeAll } from "../data/encode-samples";
import { reportLines } from "../data/report";
import { loadSamples } from "../data/samples";
import { templateFor } from "../data/template-for";
import { type Sequence, textSequences } from "../eval/sequence";
import type { Reporter } from "../log/console";
import type { Tokenizer } from "../text/tokenizer";
import { records } from "./examples";
import { nothingLeft } from "./split";

export interface SequenceOptions {
  readonly tokenizer: Tokenizer;
  /** As `records.template`. */
  readonly template: string;
  /** Tokens of a sequence at most. */
  readonly context: number;
  readonly console: Reporter;
  /** Where a data file is. */
  find(path: string): Promise<string>;
}

/** A file that ends in .txt is text, every token of which is scored; of any other the tokens of answers are. */
export async function sequencesOf(
  path: string,
  { tokenizer, template: wanted, context: tokens, console, find }: SequenceOptions,
): Promise<readonly Sequence[]> {
  const file = await find(path);
  if (path.endsWith(".txt")) {
    const text = await readText(file, path);
    return textSequences(await tokensIn(text, { tokenizer, onNote: console.note }), tokens);
  }
  const loaded = await loadSamples(file, { trees: records.trees.parse(undefined), strict: false, name: path });
  const template = templateFor(wanted, loaded.format, tokenizer);
  const { examples, report } = await encodeAll(loaded, { tokenizer, template, tokens, cut: "open", strict: false });
  if (examples.length === 0) throw nothingLeft(path, "example", report);
  for (const line of reportLines(report, path).slice(1)) console.note(line);
  // Those of like length share a batch.
  return [...examples].sort((a, b) => a.ids.length - b.ids.length);
}
