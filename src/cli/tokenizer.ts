import { existsSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { defineCommand } from "citty";
import { findFile } from "../app/embedded";
import { locateModel } from "../app/locate";
import { throttled } from "../app/pipeline";
import { readText } from "../data/corpus";
import { UserError } from "../errors";
import { openConsole } from "../log/console";
import { trainBpe } from "../text/bpe";
import { trainCharacters } from "../text/characters";
import { loadTokenizer, type Tokenizer, writeTokenizer } from "../text/tokenizer";
import { all, numberOf } from "./options";

const tokenizerArg = {
  tokenizer: {
    type: "string",
    required: true,
    description: "a folder with tokenizer.json: a tokenizer, a model or a run",
  },
} as const;

const train = defineCommand({
  meta: { name: "train", description: "trains a tokenizer on text files" },
  args: {
    data: { type: "string", required: true, description: "a text file; may be repeated" },
    out: { type: "string", required: true, description: "the folder to write" },
    kind: {
      type: "enum",
      options: ["bpe", "character"],
      default: "bpe",
      description: "byte-level BPE, or one token a character",
    },
    size: { type: "string", default: "4096", description: "tokens of a BPE vocabulary" },
  },
  async run({ args, rawArgs }) {
    const console = openConsole();
    const texts = [];
    for (const path of all(rawArgs, "data")) texts.push(await readText(findFile(path)));
    const onProgress = throttled((done, total) => console.status(`${done}/${total} merges`));
    const files =
      args.kind === "bpe" ? trainBpe(texts, { size: numberOf("size", args.size), onProgress }) : trainCharacters(texts);
    console.done();
    await mkdir(args.out, { recursive: true });
    await writeTokenizer(args.out, files);
    const { size } = await loadTokenizer(args.out);
    console.note(`${args.out}: ${size} tokens`);
  },
});

const encode = defineCommand({
  meta: { name: "encode", description: "text to token ids" },
  args: {
    ...tokenizerArg,
    text: { type: "positional", required: false, description: "the text; read from standard input if absent" },
    special: { type: "boolean", description: "reads <|endoftext|> as the token, and not as plain text" },
    tokens: { type: "boolean", description: "prints each id with its text, one a line" },
    json: { type: "boolean", description: "prints a JSON array" },
  },
  async run({ args }) {
    const tokenizer = await open(args.tokenizer);
    const ids = tokenizer.encode(args.text ?? (await Bun.stdin.text()), { special: args.special ?? false });
    if (args.json) process.stdout.write(`${JSON.stringify(ids)}\n`);
    else if (args.tokens)
      for (const id of ids) process.stdout.write(`${id}\t${JSON.stringify(tokenizer.decode([id]))}\n`);
    else process.stdout.write(`${ids.join(" ")}\n`);
  },
});

const decode = defineCommand({
  meta: { name: "decode", description: "token ids to text" },
  args: {
    ...tokenizerArg,
    ids: {
      type: "positional",
      required: false,
      description: "ids between spaces or commas; read from standard input if absent",
    },
  },
  async run({ args }) {
    const tokenizer = await open(args.tokenizer);
    const words = (args._.length ? args._.join(" ") : await Bun.stdin.text()).split(/[\s,[\]]+/).filter(Boolean);
    const ids = words.map(Number);
    const bad = words.find((_, i) => !(Number.isInteger(ids[i]) && ids[i]! >= 0 && ids[i]! < tokenizer.size));
    if (bad !== undefined)
      throw new UserError(`${bad} is not a token id`, {
        hint: `ids are whole numbers below ${tokenizer.size}`,
        exitCode: 2,
      });
    process.stdout.write(`${tokenizer.decode(ids)}\n`);
  },
});

/** A tokenizer's own folder, or that of a model or a run. */
async function open(path: string): Promise<Tokenizer> {
  return loadTokenizer(existsSync(`${path}/tokenizer.json`) ? path : await locateModel(path, openConsole()));
}

export default defineCommand({
  meta: { name: "tokenizer", description: "trains and tries tokenizers" },
  subCommands: { train, encode, decode },
});
