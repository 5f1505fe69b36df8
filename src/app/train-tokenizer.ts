/** Training a tokenizer of any kind on text files, with progress. */
import { readText } from "../data/corpus";
import { cutAtSpaces } from "../data/encode";
import { type Reporter, throttled } from "../log/console";
import { bpeTraining } from "../text/bpe";
import { characterTraining } from "../text/characters";
import type { TokenizerFiles } from "../text/files";
import { wordTraining } from "../text/words";
import { patiently } from "../tick";
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
  const parts = texts.values().flatMap((text) => cutAtSpaces(text));
  if (wanted.kind === "character") return patiently(characterTraining(parts));
  if (wanted.kind === "word") return patiently(wordTraining(parts, wanted));
  const onProgress = throttled((done: number, total: number) =>
    console.status(`training the tokenizer  ${done}/${total} merges`),
  );
  try {
    return await patiently(bpeTraining(texts, { size: wanted.size, onProgress }));
  } finally {
    console.done();
  }
}
