/** What a stage shows of its model while it trains: answers to a few questions. */
import type { Device } from "../device/device";
import { Engine } from "../generate/engine";
import type { Asked } from "../generate/names";
import { sampling } from "../generate/sampling";
import type { Model } from "../model/model";
import type { Slab } from "../model/slab";
import { answerReader } from "../text/answer";
import type { ChatTemplate } from "../text/template";
import type { Tokenizer } from "../text/tokenizer";
import { tick } from "../tick";
import { samplePrompts, type Training } from "../train/settings";

export interface Shown {
  readonly settings: Training["samples"];
  readonly device: Device;
  readonly model: Model;
  readonly slabs: readonly Slab[];
  readonly template: ChatTemplate;
  readonly tokenizer: Tokenizer;
  readonly seed: number;
}

export interface Answering extends Disposable {
  /** A line for each question; fewer where `signal` was aborted. */
  answers(signal: AbortSignal): AsyncGenerator<string>;
}

/** Of a model that has nothing to say. */
export const silentAnswering: Answering = { async *answers() {}, [Symbol.dispose]() {} };

/** Questions that are too long for the model are refused at once, and not at the first evaluation. */
export function answering({ settings, device, model, slabs, template, tokenizer, seed }: Shown): Answering {
  const engine = new Engine(device, model, slabs);
  const questions = samplePrompts(settings);
  const prompts = questions.map((content) => template.prompt([{ role: "user", content }]));
  engine.expectPrompts(prompts);
  const options = sampling.parse({ temperature: settings.temperature, maxTokens: settings.tokens, seed });
  return {
    async *answers(signal) {
      const asked: Asked = new Map();
      for (const [i, content] of settings.prompts.entries()) {
        const answer = answerReader(tokenizer, template, prompts[i]!);
        const ends = (_row: number, id: number) => answer.push(id);
        for (const _ of engine.generate([prompts[i]!], { ...options, asked, ends })) {
          await tick();
          if (signal.aborted) return;
        }
        yield `  | ${content.trim()} -> ${answer.text().replaceAll("\n", "\n  |   ")}${answer.ended ? "" : " ..."}`;
      }
    },
    [Symbol.dispose]: () => engine[Symbol.dispose](),
  };
}
