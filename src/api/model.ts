/** A model that writes, for programs: text and tokens, what comes next, what a text is worth, conversations. */
import { completeAll, expectIds, type NextToken, nextTokens, promptIds, type TokenLogProb } from "../app/complete";
import { UserError } from "../errors";
import { continuationsOf } from "../eval/choices";
import { likelihoods } from "../eval/continuations";
import { expectFinite, textLogProbs } from "../eval/perplexity";
import type { Asked } from "../generate/names";
import { type Conversation, converser } from "./chat";
import { type Opened, openedBy } from "./opened";
import {
  type ChatOptions,
  type Completion,
  checked,
  endingOf,
  type GenerateManyOptions,
  type GenerateOptions,
  generateSchema,
  manySchema,
  type NextOptions,
  nextSchema,
  type OpenOptions,
  type PairsOptions,
  type Prompt,
  pairsSchema,
  type TextOptions,
  textSchema,
} from "./options";
import { type TextStream, textStream } from "./stream";
import type { Pause } from "./turns";

/**
 * A model on a device. What is asked of it is done one after another, in the order of asking. `using` closes it: what is under way then ends
 * with an error, and so does whatever is asked later.
 */
export interface LanguageModel extends Disposable {
  /** Tokens that it sees at most. */
  readonly context: number;
  /** Token ids are below it. */
  readonly vocabulary: number;
  /** The id that ends a document; null where there is none. */
  readonly endOfText: number | null;
  /** What computes it, in words. */
  readonly device: string;
  /** `special`: <|endoftext|> in the text is the token, and not plain text. */
  encode(text: string, options?: { readonly special?: boolean }): number[];
  decode(ids: readonly number[]): string;
  /** The likeliest tokens behind a prompt, the likeliest first. */
  next(prompt: Prompt, options?: NextOptions): Promise<NextToken[]>;
  generate(prompt: Prompt, options?: GenerateOptions): Promise<Completion>;
  /** `samples` of each prompt, those of one behind the other, in the order of the prompts; `batch` prompts run together. */
  generateMany(prompts: readonly Prompt[], options?: GenerateManyOptions): Promise<Completion[]>;
  /** The same text as `generate`, as it is written. */
  stream(prompt: Prompt, options?: GenerateOptions): TextStream;
  chat(options?: ChatOptions): Conversation;
  /** Of each token of a text, given those before it in a window that slides over it as `dawngrad eval perplexity` does. The first has none. */
  logProbs(text: Prompt, options?: TextOptions): Promise<TextToken[]>;
  /** Of each completion, given its prompt: tokenised as one text. What exceeds the context is cut from the prompt's beginning. */
  logProbsOf(pairs: readonly Pair[], options?: PairsOptions): Promise<CompletionLogProb[]>;
}

/** A token of a text; its log-probability is null where nothing is before it. */
export interface TextToken extends Omit<TokenLogProb, "logProb"> {
  readonly logProb: number | null;
}

export interface Pair {
  readonly prompt: string;
  readonly completion: string;
}

export interface CompletionLogProb {
  /** The sum over its tokens, in nats. */
  readonly logProb: number;
  readonly tokens: readonly TokenLogProb[];
  /** Each of its tokens is the likeliest there: so it is what the model would say. */
  readonly greedy: boolean;
  /** Tokens of the prompt that did not fit into the context. */
  readonly cut: number;
}

/** `name`: a run, a stage, a checkpoint, a model directory, or a name on the Hub. Throws a DawngradError where there is none that writes. */
export async function open(name: string, options: OpenOptions = {}): Promise<LanguageModel> {
  return languageModel(await openedBy(name, options, "policy"));
}

function languageModel(opened: Opened): LanguageModel {
  const { device, model, slabs, tokenizer, engine, turns } = opened;
  const { context, vocabulary } = model.config;
  const tokensOf = (prompt: Prompt, special: boolean): readonly number[] => {
    turns.expectOpen();
    const ids = typeof prompt === "string" ? promptIds(tokenizer, prompt, special) : idsIn(prompt, vocabulary);
    engine.expectPrompts([ids]);
    return ids;
  };
  const endedBy = <T extends Parameters<typeof endingOf>[0]>(options: T) => {
    const ending = endingOf(options);
    expectIds([...ending.stopIds, ...ending.logitBias.keys()], vocabulary);
    return { ...options, ...ending };
  };
  const writingBy = (prompt: Prompt, given: GenerateOptions) => {
    const { signal, ...options } = checked(generateSchema, given);
    const ids = tokensOf(prompt, options.special);
    const how = endedBy(options);
    const write = async (told: (text: string) => void, signal?: AbortSignal): Promise<Completion> => {
      const work = (pause: Pause) =>
        completeAll(opened, [ids], how, ({ text }) => {
          told(text);
          return pause();
        });
      const [completion] = await turns.take(work, signal);
      return completion!;
    };
    return { signal, write };
  };
  const chat = converser(opened);
  const token = (id: number) => ({ id, token: tokenizer.token(id) });
  return {
    context,
    vocabulary,
    endOfText: tokenizer.endOfText,
    device: `${device.info.name} (${device.info.kind})`,
    encode(text, { special = false } = {}) {
      turns.expectOpen();
      return tokenizer.encode(text, { special });
    },
    decode(ids) {
      turns.expectOpen();
      expectIds(ids, vocabulary);
      return tokenizer.decode(ids);
    },
    async next(prompt, given = {}) {
      const { top, special, signal } = checked(nextSchema, given);
      const ids = tokensOf(prompt, special);
      return turns.take(() => nextTokens(opened, ids, top), signal);
    },
    async generate(prompt, given = {}) {
      const { signal, write } = writingBy(prompt, given);
      return write(() => {}, signal);
    },
    async generateMany(prompts, given = {}) {
      const { signal, batch, ...options } = checked(manySchema, given);
      const all = prompts.map((prompt) => tokensOf(prompt, options.special));
      const asked: Asked = new Map();
      const how = { ...endedBy(options), asked };
      return turns.take(async (pause) => {
        const found: Completion[] = [];
        for (let at = 0; at < all.length; at += batch) {
          const rows = all.slice(at, at + batch).flatMap((ids) => new Array(options.samples).fill(ids));
          found.push(...(await completeAll(opened, rows, how, pause)));
        }
        return found;
      }, signal);
    },
    stream(prompt, given = {}) {
      const { signal, write } = writingBy(prompt, given);
      return textStream(write, signal);
    },
    chat,
    async logProbs(text, given = {}) {
      const { special, signal, context: seen = context, stride = Math.max(1, seen >> 1) } = checked(textSchema, given);
      turns.expectOpen();
      if (seen > context || stride > seen)
        throw new UserError(`a window of ${seen} tokens and a stride of ${stride} were asked for`, {
          hint: `the model's context is ${context}, and a stride is at most a window`,
        });
      const ids = Uint32Array.from(
        typeof text === "string" ? tokenizer.encode(text, { special }) : idsIn(text, vocabulary),
      );
      const found = await turns.take((pause) => textLogProbs(opened, ids, { context: seen, stride, pause }), signal);
      return Array.from(ids, (id, i) => ({ ...token(id), logProb: i === 0 ? null : found[i - 1]! }));
    },
    async logProbsOf(pairs, given = {}) {
      const { batch, signal } = checked(pairsSchema, given);
      turns.expectOpen();
      const asked = pairs.map(
        ({ prompt, completion }, i) =>
          continuationsOf(
            { context: prompt, continuations: [completion], where: `pair ${i + 1}` },
            tokenizer,
            context,
          )[0]!,
      );
      const length = Math.max(0, ...asked.map(({ ids }) => ids.length - 1));
      const scoring = { device, model, slabs, rows: Math.min(batch, asked.length), length };
      return turns.take(async (pause) => {
        const found = new Array<CompletionLogProb>(asked.length);
        for await (const [at, worth] of likelihoods(scoring, asked)) {
          const { ids, from, where, lost } = asked[at]!;
          expectFinite(-worth.logLikelihood, where);
          const tokens = Array.from(ids.subarray(from), (id, i) => ({ ...token(id), logProb: worth.logProbs[i]! }));
          found[at] = { logProb: worth.logLikelihood, tokens, greedy: worth.greedy, cut: lost };
          await pause();
        }
        return found;
      }, signal);
    },
    [Symbol.dispose]: () => opened[Symbol.dispose](),
  };
}

/** Token ids, where they are that: who writes JavaScript may give anything. */
function idsIn(given: readonly number[], vocabulary: number): readonly number[] {
  if (!Array.isArray(given)) throw new UserError("what was given is neither a text nor an array of token ids");
  expectIds(given, vocabulary);
  return given;
}
