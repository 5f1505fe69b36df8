/** What stands beside or instead of tokenizer.json: vocab.json and merges.txt, added_tokens.json, special_tokens_map.json. */
import { z } from "zod";
import { UserError } from "../errors";
import { END_OF_TEXT, type TokenizerFiles, tokenizerFiles, tokenText } from "./files";

const flags = {
  special: z.boolean().optional(),
  lstrip: z.boolean().optional(),
  rstrip: z.boolean().optional(),
  single_word: z.boolean().optional(),
  normalized: z.boolean().optional(),
};
const token = z.looseObject({ content: z.string(), ...flags });
const named = z.union([z.string(), token]);

/** What a special token is for, in the order in which new ones get ids. */
const roles = ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"] as const;

const special = {
  ...Object.fromEntries(roles.map((role) => [role, named.nullish()])),
  additional_special_tokens: z.array(named).nullish(),
};

/** special_tokens_map.json. */
export const specialsSchema = z.looseObject(special);

/** added_tokens.json. */
export const addedSchema = z.record(z.string(), z.int().min(0));

/** Whether a value can be written again. */
function writable(value: unknown): boolean {
  try {
    JSON.stringify(value);
    return true;
  } catch {
    return false;
  }
}

/** tokenizer_config.json. */
const config = z.looseObject({
  ...special,
  added_tokens_decoder: z.record(z.string().regex(/^\d+$/), token).nullish(),
  add_prefix_space: z.boolean().nullish(),
  chat_template: z.union([z.string(), z.array(z.looseObject({ name: z.string(), template: z.string() }))]).nullish(),
});

export const configSchema = config.refine(writable, { message: "it is nested too deeply" });

export interface Beside {
  readonly config: z.infer<typeof config>;
  readonly added: z.infer<typeof addedSchema>;
  readonly specials: z.infer<typeof specialsSchema>;
}

interface Added extends z.infer<typeof token> {
  readonly id: number;
}

/** tokenizer.json with the added tokens that only the files beside it have. */
export function withBeside(tokenizer: Readonly<Record<string, unknown>>, beside: Beside): TokenizerFiles {
  const own = (tokenizer.added_tokens ?? []) as readonly { readonly content?: unknown }[];
  const names = new Set(Array.isArray(own) ? own.map((token) => tokenText(token)) : []);
  const fresh = addedOf(beside).filter(({ content }) => !names.has(content));
  const config = { ...beside.config, ...given(beside.specials) };
  return { tokenizer: fresh.length ? { ...tokenizer, added_tokens: [...own, ...fresh] } : tokenizer, config };
}

/** vocab.json and merges.txt: how GPT-2's tokenizer was kept before tokenizer.json. */
export function olderTokenizer(
  vocabulary: Readonly<Record<string, number>>,
  merges: string,
  beside: Beside,
): TokenizerFiles {
  const pairs = merges
    .split(/\r?\n/)
    .map((line, i) => ({ line, where: `merges.txt:${i + 1}` }))
    .filter(({ line }) => line !== "" && !line.startsWith("#version"))
    .map(({ line, where }) => {
      const [left, right, ...more] = line.split(" ");
      if (!left || !right || more.length)
        throw new UserError(`${where}: ${JSON.stringify(line.slice(0, 60))} is not a pair of tokens`, {
          hint: "each line of merges.txt is two tokens with one space between them",
        });
      return [left, right] as const;
    });
  const base = tokenizerFiles({
    vocabulary,
    merges: pairs,
    preTokenizer: {
      type: "ByteLevel",
      add_prefix_space: beside.config.add_prefix_space ?? false,
      trim_offsets: true,
      use_regex: true,
    },
    decoder: { type: "ByteLevel", add_prefix_space: true, trim_offsets: true, use_regex: true },
    endOfText: 0,
  });
  const ends = { bos_token: END_OF_TEXT, eos_token: END_OF_TEXT, unk_token: END_OF_TEXT };
  const config = { ...base.config, ...ends, ...given(beside.config), ...given(beside.specials) };
  const added = addedOf({ ...beside, specials: config });
  // Special tokens that stand nowhere come after all others.
  let next =
    [...Object.values(vocabulary), ...added.map(({ id }) => id)].reduce((most, id) => Math.max(most, id), -1) + 1;
  for (const special of specialsOf(config)) {
    if (added.some(({ content }) => content === special.content)) continue;
    const own = Object.hasOwn(vocabulary, special.content);
    added.push({ ...special, special: true, id: own ? vocabulary[special.content]! : next++ });
  }
  return { tokenizer: { ...base.tokenizer, added_tokens: added }, config };
}

/** Added tokens whose ids are given. */
function addedOf({ config, added, specials }: Beside): Added[] {
  const special = new Map(specialsOf({ ...config, ...given(specials) }).map((token) => [token.content, token]));
  const decoder = Object.entries(config.added_tokens_decoder ?? {}).map(([id, token]) => ({
    ...token,
    id: Number(id),
  }));
  const listed = Object.entries(added)
    .filter(([content]) => !decoder.some((token) => token.content === content))
    .map(([content, id]) => ({ ...(special.get(content) ?? { content }), id }));
  return [...decoder, ...listed]
    .map((token) => ({ ...token, special: token.special ?? special.has(token.content) }))
    .sort((a, b) => a.id - b.id);
}

function specialsOf(named: Beside["specials"]): z.infer<typeof token>[] {
  const all = [...roles.map((role) => named[role]), ...(named.additional_special_tokens ?? [])] as unknown[];
  return all.flatMap((value) => {
    const content = tokenText(value);
    if (content === null || content === "") return [];
    return [{ ...(typeof value === "object" ? value : {}), content, special: true }];
  });
}

/** Without keys that say nothing. */
function given(named: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(named).filter(([, value]) => value !== null && value !== undefined));
}
