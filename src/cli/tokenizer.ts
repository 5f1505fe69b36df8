/** `dawngrad tokenizer`: trains tokenizers, tells about them, and tries them on text. */
import { mkdir } from "node:fs/promises";
import { defineCommand } from "citty";
import { tokenizerSchema } from "../app/config";
import { locateData, locateModel } from "../app/locate";
import { expectNoModel } from "../app/model";
import { tokenizerKinds, trainTokenizer } from "../app/train-tokenizer";
import { readText } from "../data/corpus";
import { encodeChunks } from "../data/encode";
import { UserError } from "../errors";
import { openConsole } from "../log/console";
import { loadTokenizer, type Tokenizer, writeTokenizer } from "../text/tokenizer";
import { flagsOf } from "./flags";
import { all, numberOf } from "./options";
import { print } from "./print";
import { standardText } from "./prompts";

const tokenizerArg = {
  tokenizer: {
    type: "string",
    required: true,
    description: "a folder with tokenizer.json: a tokenizer, a model or a run",
  },
} as const;

const sizeFlag = flagsOf(tokenizerSchema, { size: { path: "size", says: "tokens of a BPE or word vocabulary" } });

const train = defineCommand({
  meta: { name: "train", description: "trains a tokenizer on text files" },
  args: {
    data: { type: "string", required: true, repeated: true, description: "a text file; may be repeated" },
    out: { type: "string", required: true, description: "the folder to write" },
    kind: {
      type: "enum",
      options: [...tokenizerKinds],
      default: "bpe",
      description: "byte-level BPE, one token a character, or one a word",
    },
    size: { ...sizeFlag.args.size, needs: ["kind=bpe", "kind=word"] },
  },
  async run({ args, rawArgs }) {
    const console = openConsole();
    expectNoModel(args.out);
    const kind = args.kind as (typeof tokenizerKinds)[number];
    const wanted = kind === "character" ? { kind } : { kind, size: numberOf("size", String(args.size)) };
    const files = await trainTokenizer(all(rawArgs, "data"), wanted, console);
    await mkdir(args.out, { recursive: true });
    await writeTokenizer(args.out, files);
    const { size } = await loadTokenizer(args.out);
    console.note(`${args.out}: ${size} tokens`);
  },
});

const info = defineCommand({
  meta: { name: "info", description: "kind, size and special tokens, and bytes a token on a text" },
  args: {
    ...tokenizerArg,
    data: { type: "string", description: "a text file, to see how many bytes a token stands for" },
    json: { type: "boolean", description: "prints one JSON object" },
  },
  async run({ args }) {
    const tokenizer = await open(args.tokenizer);
    const named = (special: boolean) => tokenizer.added.filter((token) => token.special === special);
    const idsOf = (tokens: typeof tokenizer.added) =>
      Object.fromEntries(tokens.map(({ id, content }) => [content, id]));
    const text = args.data === undefined ? null : await readText(await locateData(args.data, openConsole()), args.data);
    const tokens = text === null ? 0 : (await encodeChunks(text, tokenizer)).length;
    const bytes = text === null ? 0 : Buffer.byteLength(text);
    const found = {
      kind: tokenizer.kind,
      size: tokenizer.size,
      special: idsOf(named(true)),
      added: idsOf(named(false)),
      ...(text !== null && { bytes, tokens, bytes_per_token: bytes / Math.max(1, tokens) }),
    };
    if (args.json) print(`${JSON.stringify(found)}\n`);
    else {
      print(`kind      ${found.kind}\nsize      ${found.size}\n`);
      for (const { id, content } of named(true)) print(`special   ${content} = ${id}\n`);
      for (const { id, content } of named(false)) print(`added     ${content} = ${id}\n`);
      if (text !== null) {
        print(
          `on ${args.data}: ${bytes} bytes, ${tokens} tokens, ${(bytes / Math.max(1, tokens)).toFixed(3)} bytes a token\n`,
        );
      }
    }
  },
});

const encode = defineCommand({
  meta: { name: "encode", description: "text to token ids" },
  args: {
    ...tokenizerArg,
    text: {
      type: "positional",
      required: false,
      blank: true,
      description: "the text; read from standard input if absent",
    },
    special: { type: "boolean", description: "reads <|endoftext|> as the token, and not as plain text" },
    tokens: { type: "boolean", excludes: ["json"], description: "prints each id with its text, one a line" },
    json: { type: "boolean", description: "prints a JSON array" },
  },
  async run({ args }) {
    const tokenizer = await open(args.tokenizer);
    const ids = tokenizer.encode(args.text ?? (await standardText()), { special: args.special ?? false });
    if (args.json) print(`${JSON.stringify(ids)}\n`);
    else if (args.tokens) for (const id of ids) print(`${id}\t${JSON.stringify(tokenizer.decode([id]))}\n`);
    else print(`${ids.join(" ")}\n`);
  },
});

const decode = defineCommand({
  meta: { name: "decode", description: "token ids to text" },
  args: {
    ...tokenizerArg,
    ids: {
      type: "positional",
      required: false,
      repeated: true,
      description: "ids between spaces or commas; read from standard input if absent",
    },
  },
  async run({ args }) {
    const tokenizer = await open(args.tokenizer);
    const words = (args._.length ? args._.join(" ") : await standardText()).split(/[\s,[\]]+/).filter(Boolean);
    const ids = words.map(Number);
    const bad = words.find((_, i) => !(Number.isInteger(ids[i]) && ids[i]! >= 0 && ids[i]! < tokenizer.size));
    if (bad !== undefined)
      throw new UserError(`${bad} is not a token id`, {
        hint: `ids are whole numbers below ${tokenizer.size}`,
        exitCode: 2,
      });
    print(`${tokenizer.decode(ids)}\n`);
  },
});

/** A tokenizer's own folder, or that of a model or a run. */
async function open(path: string): Promise<Tokenizer> {
  return loadTokenizer(await locateModel(path, openConsole(), "tokenizer.json"));
}

export default defineCommand({
  meta: { name: "tokenizer", description: "trains and tries tokenizers" },
  subCommands: { train, encode, decode, info },
});
