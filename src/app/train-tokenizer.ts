/** Training a tokenizer of any kind on text files, with progress. */
import { readText } from "../data/corpus";
import { type Reporter, throttled } from "../log/console";
import { trainBpe } from "../text/bpe";
import { trainCharacters } from "../text/characters";
import type { TokenizerFiles } from "../text/files";
import { trainWords } from "../text/words";
import { locateData } from "./locate";

export const tokenizerKinds = ["bpe", "character", "word"] as const;
export type Wanted = { readonly kind: "character" } | { readonly kind: "bpe" | "word"; readonly size: number };

export async function trainTokenizer(
  paths: readonly string[],
  wanted: Wanted,
  console: Reporter,
): Promise<TokenizerFiles> {
  const texts: string[] = [];
  for (const path of paths) texts.push(await readText(await locateData(path, console), path));
  if (wanted.kind === "character") return trainCharacters(texts);
  if (wanted.kind === "word") return trainWords(texts, wanted);
  const onProgress = throttled((done: number, total: number) =>
    console.status(`training the tokenizer  ${done}/${total} merges`),
  );
  try {
    return trainBpe(texts, { size: wanted.size, onProgress });
  } finally {
    console.done();
  }
}
