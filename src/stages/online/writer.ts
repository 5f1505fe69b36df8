/** The policy writes: prompts through its decoder's slots, with the log-probability of each token as it was drawn. */
import { z } from "zod";
import type { PromptExample } from "../../data/prompts";
import type { Device } from "../../device/device";
import { UserError } from "../../errors";
import { Engine } from "../../generate/engine";
import { sampling } from "../../generate/sampling";
import { percentages, type Reporter } from "../../log/console";
import type { Model } from "../../model/model";
import type { Slab } from "../../model/slab";
import { answerEnds, answerReader } from "../../text/answer";
import type { ChatTemplate } from "../../text/template";
import type { Tokenizer } from "../../text/tokenizer";
import { ticker } from "../../tick";
import { type Answer, answered } from "./answers";

/** The keys of a config that say how answers are written. Filters are none of them: what they leave out would have no log-probability. */
export const rollout = z.strictObject({
  prompts: z.int().min(1).max(65536).default(16).meta({ description: "prompts of a round" }),
  samples: z.int().min(1).max(4096).default(8).meta({ description: "answers of each prompt" }),
  tokens: z.int().min(1).max(65536).default(64).meta({ description: "tokens of an answer at most" }),
  temperature: z
    .number()
    .min(0.01)
    .max(100)
    .default(1)
    .meta({ description: "what logits are divided by, in writing and in scoring alike" }),
  together: z.int().min(1).max(4096).default(64).meta({
    description: "answers that are written at a time: more take more memory and, on a GPU, less time",
    neutral: true,
  }),
});

export const stop = z.strictObject({
  text: z.string().min(1).meta({ description: "one token that ends an answer, beside its end token" }),
  after: z.int().min(0).default(0).meta({ description: "tokens that an answer has before that counts" }),
});

export interface WriterOptions {
  readonly device: Device;
  readonly model: Model;
  readonly slabs: readonly Slab[];
  readonly tokenizer: Tokenizer;
  readonly template: ChatTemplate;
  readonly console: Reporter;
  readonly name: string;
  readonly rollout: z.infer<typeof rollout>;
  readonly stop?: z.infer<typeof stop> | undefined;
}

export interface Writer extends Disposable {
  /** An answer to each of these prompts, which stand `samples` times behind one another; no rewards yet. Null where `signal` was aborted first. */
  write(
    places: readonly number[],
    prompts: readonly PromptExample[],
    seed: number,
    signal: AbortSignal,
  ): Promise<Answer[] | null>;
}

export function writer({
  device,
  model,
  slabs,
  tokenizer,
  template,
  console,
  name,
  rollout,
  stop,
}: WriterOptions): Writer {
  const engine = new Engine(device, model, slabs);
  const { ids: ends, text: mark } = answerEnds(tokenizer, template);
  const mayStop = stop ? stopToken(stop.text, tokenizer) : null;
  return {
    async write(places, prompts, seed, signal) {
      const asked = places.map((at) => prompts[at]!);
      const given = asked.map(({ ids }) => [...ids]);
      // Words that are no token are looked for as they come; a token is known by its number.
      const readers = mark === null ? null : given.map((prompt) => answerReader(tokenizer, template, prompt));
      const counts = new Uint32Array(given.length);
      const options = sampling.parse({ temperature: rollout.temperature, maxTokens: rollout.tokens, seed });
      const written = new Array<Answer>(given.length);
      const progress = percentages(console, `${name}: answers`);
      const pause = ticker();
      let done = 0;
      const steps = engine.rolloutSteps(given, {
        ...options,
        together: rollout.together,
        logProbs: "tempered",
        ends(index, id) {
          const count = ++counts[index]!;
          if (readers) return readers[index]!.push(id) || stops(id, count);
          return ends.has(id) || stops(id, count);
        },
      });
      for (const finished of steps) {
        await pause();
        if (signal.aborted) return null;
        for (const { index, ids, logProbs, end } of finished) {
          const last = ids.at(-1)!;
          written[index] = {
            prompt: places[index]!,
            example: answered(asked[index]!, ids),
            text: readers
              ? readers[index]!.text()
              : tokenizer.decode(ends.has(last) ? ids.slice(0, -1) : [...ids]).trim(),
            ended: end === "stop",
            rewards: [],
            counts: true,
            tokens: { old: Float32Array.from(logProbs) },
          };
          progress(++done, given.length);
        }
      }
      console.done();
      return written;
    },
    [Symbol.dispose]: () => engine[Symbol.dispose](),
  };

  function stops(id: number, count: number): boolean {
    return mayStop !== null && id === mayStop && count > stop!.after;
  }
}

function stopToken(text: string, tokenizer: Tokenizer): number {
  const ids = tokenizer.encode(text);
  if (ids.length === 1) return ids[0]!;
  throw new UserError(`stop.text ${JSON.stringify(text)} is ${ids.length} tokens, and one is wanted`, {
    hint: "take a text that is one token, such as a full stop",
    exitCode: 2,
  });
}
