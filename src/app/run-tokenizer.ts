/** The tokenizer that a run trains for its new models, kept in its folder and made again where its text or its settings change. */
import { existsSync, renameSync } from "node:fs";
import { join } from "node:path";
import { UserError } from "../errors";
import type { Reporter } from "../log/console";
import { corpusOf } from "../stages";
import { loadTokenizer, type Tokenizer, writeTokenizer } from "../text/tokenizer";
import { keptAside, TOKENIZER_FOLDER } from "../train/run-folder";
import type { Config } from "./config";
import { locateData } from "./locate";
import { difference, type Hasher, keyOf, readStageFile, settingsOf, writeStageFile } from "./stage-file";
import { trainTokenizer } from "./train-tokenizer";

export interface RunTokenizer {
  readonly output: string;
  open(): Promise<Tokenizer>;
}

/** Trains it where it is not there yet. */
export async function runTokenizer(
  config: Config,
  {
    directory,
    console,
    hasher,
    former,
  }: { directory: string; console: Reporter; hasher: Hasher; former: Config | null },
): Promise<RunTokenizer> {
  const wanted = config.tokenizer;
  const paths: string[] = [];
  const parts: Record<string, string> = { ...settingsOf(wanted, new Set()) };
  if (wanted.kind === "file") parts[`data ${wanted.path}`] = await hasher.ofModel(wanted.path);
  else
    for (const path of corpusOf(config.stage)) {
      paths.push(await locateData(path, console));
      parts[`data ${path}`] = await hasher.of(paths.at(-1)!);
    }
  if (wanted.kind !== "file" && paths.length === 0)
    throw new UserError("a tokenizer is trained on a pretraining stage's text, and no stage is one", {
      hint: "give model.from, or a tokenizer of kind file",
      exitCode: 2,
    });
  const folder = join(directory, TOKENIZER_FOLDER);
  const there = existsSync(join(folder, "tokenizer_config.json"));
  // One made before there were stage files is taken for this one, where its settings were these.
  const same = former && difference(settingsOf(former.tokenizer, new Set()), settingsOf(wanted, new Set())) === null;
  const key = keyOf(parts);
  const before = readStageFile(folder) ?? (there && same ? { key, parts } : null);
  if (!there || before?.key !== key) {
    if (there) {
      const kept = join(directory, keptAside(TOKENIZER_FOLDER, before?.key ?? "former"));
      console.note(
        `the tokenizer is made again${before ? `: ${difference(before.parts, parts)}` : ""}; the former is kept in ${kept}`,
      );
      renameSync(folder, kept);
    }
    const files =
      wanted.kind === "file" ? (await loadTokenizer(wanted.path)).files : await trainTokenizer(paths, wanted, console);
    await writeTokenizer(folder, files);
  }
  const output = await hasher.ofModel(folder);
  writeStageFile(folder, { state: "finished", key, parts, seen: hasher.seen, output });
  return { output, open: () => loadTokenizer(folder) };
}
