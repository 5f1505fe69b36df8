/** tokenizer.json and tokenizer_config.json: what Hugging Face's tokenizers read and what ours are written as. */

export const END_OF_TEXT = "<|endoftext|>";

/** The two files, as parsed JSON. */
export interface TokenizerFiles {
  readonly tokenizer: Readonly<Record<string, unknown>>;
  readonly config: Readonly<Record<string, unknown>>;
}

/** A special token as tokenizer_config.json names it: its text, or an object that has it. */
export function tokenText(value: unknown): string | null {
  const text = (value as { readonly content?: unknown } | null | undefined)?.content ?? value;
  return typeof text === "string" ? text : null;
}

interface Parts {
  readonly vocabulary: Readonly<Record<string, number>>;
  readonly merges: readonly (readonly [string, string])[];
  readonly preTokenizer: object;
  readonly decoder: object;
  readonly endOfText: number;
}

/** A BPE model in Hugging Face's format. A character-level tokenizer is one without merges. */
export function tokenizerFiles({ vocabulary, merges, preTokenizer, decoder, endOfText }: Parts): TokenizerFiles {
  return {
    tokenizer: {
      version: "1.0",
      truncation: null,
      padding: null,
      added_tokens: [
        {
          id: endOfText,
          content: END_OF_TEXT,
          single_word: false,
          lstrip: false,
          rstrip: false,
          normalized: false,
          special: true,
        },
      ],
      normalizer: null,
      pre_tokenizer: preTokenizer,
      post_processor: null,
      decoder,
      model: {
        type: "BPE",
        dropout: null,
        unk_token: null,
        continuing_subword_prefix: "",
        end_of_word_suffix: "",
        fuse_unk: false,
        byte_fallback: false,
        vocab: vocabulary,
        merges: merges.map(([left, right]) => `${left} ${right}`),
      },
    },
    config: {
      add_prefix_space: false,
      bos_token: END_OF_TEXT,
      eos_token: END_OF_TEXT,
      unk_token: END_OF_TEXT,
      clean_up_tokenization_spaces: false,
      tokenizer_class: "PreTrainedTokenizerFast",
    },
  };
}
