/**
 * A tokenizer as GGUF has it: GPT-2's byte-level BPE, which llama.cpp knows by name (src/llama-vocab.cpp). It has no place for anything
 * else that a tokenizer.json may ask for, and would read text otherwise without a word: that is refused.
 */
import { z } from "zod";
import { shown, UserError } from "../errors";
import { characterOfByte } from "../text/bytes";
import { END_OF_TEXT, type TokenizerFiles, tokenText } from "../text/files";
import type { Metadata, Value } from "./gguf-header";

/** llama.cpp's kinds of token. */
const NORMAL = 1;
const CONTROL = 3;
const USER_DEFINED = 4;
const UNUSED = 5;

const id = z.int().min(0);
const no = z.literal(false).nullish();
const empty = z.literal("").nullish();

/** What llama.cpp does, of all that a tokenizer.json can say. */
const schema = z.object({
  normalizer: z.null().optional(),
  pre_tokenizer: z.object({ type: z.literal("ByteLevel"), add_prefix_space: no, use_regex: z.literal(true).nullish() }),
  decoder: z.object({ type: z.literal("ByteLevel") }).nullish(),
  model: z.object({
    type: z.literal("BPE"),
    vocab: z.custom<Readonly<Record<string, number>>>((value) => typeof value === "object" && value !== null),
    merges: z.array(z.union([z.string().transform((merge) => merge.split(" ")), z.array(z.string())])),
    dropout: z.literal(0).nullish(),
    continuing_subword_prefix: empty,
    end_of_word_suffix: empty,
    byte_fallback: no,
    ignore_merges: no,
  }),
  added_tokens: z
    .array(
      z.object({
        id,
        content: z.string(),
        special: z.boolean().default(false),
        single_word: no,
        lstrip: no,
        rstrip: no,
      }),
    )
    .nullish(),
});

/** Metadata for `size` rows of the token table. */
export function vocabularyOf(files: TokenizerFiles, size: number): Metadata {
  const { model, added_tokens } = parsed(files);
  const { config } = files;
  const tokens = Array.from({ length: size }, (_, i) => `[PAD${i}]`);
  const types = new Array<number>(size).fill(UNUSED);
  const put = (token: string, id: number, type: number) => {
    if (!(Number.isInteger(id) && id >= 0 && id < size))
      throw refused(`its token ${shown(token)} has the id ${id}, and the model has ${size} rows`);
    tokens[id] = token;
    types[id] = type;
  };
  for (const [token, id] of Object.entries(model.vocab)) put(token, id, NORMAL);
  for (const { id, content, special } of added_tokens ?? []) put(content, id, special ? CONTROL : USER_DEFINED);
  const ids = new Map(tokens.map((token, i) => [token, i]));
  const twice = tokens.find((token, i) => ids.get(token) !== i);
  if (twice !== undefined) throw refused(`it has the token ${shown(twice)} twice`);
  const absent = characterOfByte.findIndex((character) => !ids.has(character));
  if (absent >= 0) throw refused(`it has no token for the byte ${absent}`);
  const bad = model.merges.find((pair) => pair.length !== 2 || pair.some((part) => part === "" || part.includes(" ")));
  if (bad) throw refused(`its merge ${shown(bad)} is no pair of tokens`);
  const end = idOf(config.eos_token ?? END_OF_TEXT, ids);
  // Where it is told of none, llama.cpp takes token 11 for the end.
  if (end === undefined) throw refused("it has no token that ends a text");
  return [
    ["tokenizer.ggml.model", string("gpt2")],
    ["tokenizer.ggml.pre", string("gpt-2")],
    ["tokenizer.ggml.tokens", { kind: "strings", value: tokens }],
    ["tokenizer.ggml.token_type", { kind: "i32s", value: types }],
    ["tokenizer.ggml.merges", { kind: "strings", value: model.merges.map((pair) => pair.join(" ")) }],
    ["tokenizer.ggml.bos_token_id", { kind: "u32", value: idOf(config.bos_token, ids) ?? end }],
    ["tokenizer.ggml.eos_token_id", { kind: "u32", value: end }],
    // A prompt is what was written, and nothing more.
    ["tokenizer.ggml.add_bos_token", { kind: "bool", value: false }],
    ["tokenizer.ggml.add_eos_token", { kind: "bool", value: false }],
    ...chatTemplate(config.chat_template),
  ];
}

function parsed({ tokenizer, config }: TokenizerFiles): z.infer<typeof schema> {
  const { normalizer, pre_tokenizer, decoder } = tokenizer;
  const plain: TokenizerFiles["tokenizer"] = {
    ...tokenizer,
    normalizer: unwrapped(normalizer, "normalizers"),
    pre_tokenizer: unwrapped(pre_tokenizer, "pretokenizers"),
    decoder: unwrapped(decoder, "decoders"),
  };
  const { data, error } = schema.safeParse(plain);
  if (config.add_prefix_space === true) throw refused("its add_prefix_space is true");
  if (data) return data;
  const { path } = error.issues[0]!;
  const found = path.reduce<unknown>((value, key) => (value as Record<PropertyKey, unknown> | null)?.[key], plain);
  const kind = (found as { readonly type?: unknown } | null | undefined)?.type ?? found;
  throw refused(`its ${path.map(String).join(".")} is ${shown(kind)}`);
}

/** A sequence of one is that one, and a sequence of none is nothing. */
function unwrapped(part: unknown, list: string): unknown {
  const { type, [list]: parts } = (part ?? {}) as Readonly<Record<string, unknown>>;
  return type === "Sequence" && Array.isArray(parts) && parts.length < 2 ? (parts[0] ?? null) : part;
}

function refused(why: string): UserError {
  return new UserError(`GGUF has no place for this tokenizer: ${why}`, {
    hint: "llama.cpp reads GPT-2's byte-level BPE; export as safetensors, or train with a bpe tokenizer",
  });
}

/** A special token is named by its text, or by an object that has it. */
function idOf(token: unknown, ids: ReadonlyMap<string, number>): number | undefined {
  const text = tokenText(token);
  return text === null ? undefined : ids.get(text);
}

const string = (value: string): Value => ({ kind: "string", value });

/**
 * Without the marks of what the assistant says, which only training reads; white space round them is trimmed as before. Of several templates
 * the one that is named default.
 */
function chatTemplate(saved: unknown): Metadata {
  const named = Array.isArray(saved) ? saved.find((each) => each?.name === "default")?.template : saved;
  if (typeof named !== "string") return [];
  const value = named.replace(/{%(-?)\s*(?:end)?generation\s*(-?)%}/g, "{%$1 if true %}{% endif $2%}");
  return [["tokenizer.chat_template", string(value)]];
}
