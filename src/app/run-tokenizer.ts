/** The tokenizer that a run trains for its new models, kept in its folder and made again where its text or its settings change. */
import { existsSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { readText, tokensIn } from "../data/corpus";
import { UserError } from "../errors";
import { writeAside, writeTextAside } from "../files";
import { corpusOf } from "../stages";
import { characterTraining } from "../text/characters";
import { loadTokenizer, type Tokenizer, writeTokenizer } from "../text/tokenizer";
import { patiently } from "../tick";
import { MEASURED_FILE, STAGE_FILE, TOKENIZER_FOLDER } from "../train/run-folder";
import { makeRoom } from "./aside";
import { tokenizerSchema } from "./config";
import { type Before, type Decision, decision } from "./decide";
import { hasher as hasherOf } from "./hasher";
import { locateData } from "./locate";
import type { Parts } from "./parts";
import { writeStageFile } from "./stage-file";
import { trainTokenizer } from "./train-tokenizer";

export interface RunTokenizer {
  readonly output: string;
  open(): Promise<Tokenizer>;
}

/** Everything that it depends on. */
export async function tokenizerParts({ config, console, hasher }: Before): Promise<Parts> {
  const { tokenizer } = config;
  const parts: Record<string, string> = {};
  for (const [key, value] of Object.entries(tokenizer))
    if (key !== "path") parts[`setting ${key}`] = JSON.stringify(value);
  if (tokenizer.kind === "file") parts[`data 1: ${tokenizer.path}`] = await hasher.ofModel(tokenizer.path);
  else if (!("alphabet" in tokenizer))
    for (const [i, path] of textsOf(config).entries())
      parts[`data ${i + 1}: ${path}`] = await hasher.of(await locateData(path, console));
  return parts;
}

function textsOf({ stage }: Before["config"]): readonly string[] {
  const paths = corpusOf(stage);
  if (paths.length) return paths;
  throw new UserError("a tokenizer is trained on a pretraining stage's text, and no stage is one", {
    hint: "give model.from, or a tokenizer of kind file",
    exitCode: 2,
  });
}

export async function decideTokenizer(scene: Before): Promise<Decision> {
  const files = ["tokenizer.json", "tokenizer_config.json"];
  const saved = files.every((name) => existsSync(join(scene.directory, TOKENIZER_FOLDER, name)));
  return decision(TOKENIZER_FOLDER, { parts: await tokenizerParts(scene), saved, scene, schema: tokenizerSchema });
}

/** The output of the run's tokenizer, or null where it is not there as it is wanted. */
export async function tokenizerOutput(scene: Before): Promise<string | null> {
  if (!existsSync(join(scene.directory, TOKENIZER_FOLDER))) return null;
  try {
    const { what, before } = await decideTokenizer(scene);
    return what === "finished" ? (before?.output ?? null) : null;
  } catch (error) {
    // Its text is gone, which is told of the stage that reads it.
    if (error instanceof UserError) return null;
    throw error;
  }
}

/** Trains it where it is not there yet. */
export async function runTokenizer(scene: Before): Promise<RunTokenizer> {
  const { directory, hasher } = scene;
  const folder = join(directory, TOKENIZER_FOLDER);
  let decided = await decideTokenizer(scene);
  if (decided.what === "run again" || decided.what === "bring back") {
    makeRoom(TOKENIZER_FOLDER, decided, scene);
    decided = await decideTokenizer(scene);
  }
  const finish = async (folder: string) => {
    const output = await hasherOf({}).ofModel(folder);
    const { key, parts } = decided;
    writeStageFile(folder, { state: "finished", key, parts, output, seen: hasher.seen });
    return output;
  };
  const files = decided.what === "finished" ? null : await madeTokenizer(scene);
  if (files) expectOurs(folder);
  const output = await (files === null
    ? finish(folder)
    : writeAside(folder, async (temporary) => {
        await writeTokenizer(temporary, files);
        await measure(temporary, scene);
        return finish(temporary);
      }));
  return { output, open: () => loadTokenizer(folder) };
}

/** Characters of the text that it is measured on: its end. */
const MEASURED = 65_536;

/** Writes how many bytes of its text a token stands for; where it was trained on none, nothing. */
async function measure(folder: string, { config, console }: Before): Promise<void> {
  const { tokenizer: wanted, stage } = config;
  if (wanted.kind === "file" || "alphabet" in wanted) return;
  const path = corpusOf(stage).at(-1)!;
  const text = await readText(await locateData(path, console), path);
  const end = endOf(text);
  if (end === "") return;
  const tokenizer = await loadTokenizer(folder);
  const tokens = (await tokensIn(end, { tokenizer, onNote: console.note })).length;
  const bytesPerToken = Buffer.byteLength(end) / Math.max(1, tokens);
  writeTextAside(join(folder, MEASURED_FILE), `${JSON.stringify({ bytesPerToken })}\n`);
}

/** From white space on, where there is any: not from the midst of an end token; and not from the midst of a character. */
function endOf(text: string): string {
  if (text.length <= MEASURED) return text;
  const end = text.slice(-MEASURED);
  return end.slice(Math.max(0, end.search(/\s/))).replace(/^[\udc00-\udfff]/, "");
}

/** What stands in the way was not made here, and is not to be removed. */
function expectOurs(folder: string): void {
  if (!existsSync(folder) || existsSync(join(folder, STAGE_FILE))) return;
  if (statSync(folder).isDirectory() && readdirSync(folder).length === 0) return;
  throw new UserError(`${folder} is there, and is no tokenizer of this run`, {
    hint: "choose another folder with --out",
    exitCode: 2,
  });
}

async function madeTokenizer({ config, console }: Before) {
  const { tokenizer: wanted } = config;
  if (wanted.kind === "file") return (await loadTokenizer(wanted.path)).files;
  if ("alphabet" in wanted) return patiently(characterTraining([wanted.alphabet!]));
  return trainTokenizer(textsOf(config), wanted, console);
}
