/** A reward model, for programs: what it gives to texts and conversations. */
import { savedNormalisation } from "../app/score";
import { encodeWhole } from "../data/examples";
import type { Sample } from "../data/formats";
import { templateFor } from "../data/template-for";
import { UserError } from "../errors";
import { scoresOf } from "../eval/scores";
import { raw as asTheyAre } from "../formats/normalisation";
import type { Message } from "../text/message";
import { openedBy } from "./opened";
import { checked, type OpenOptions, type ScoreOptions, scoreSchema } from "./options";

/** A text, a prompt with what followed it, or a conversation. */
export type Scored =
  | string
  | { readonly prompt: string; readonly completion: string }
  | { readonly messages: readonly Message[] };

/** Asked in turn, and closed, as a LanguageModel is. */
export interface RewardModel extends Disposable {
  /** What computes it, in words. */
  readonly device: string;
  /** One number each; normalised as the model's files say, without `raw`. */
  score(items: readonly Scored[], options?: ScoreOptions): Promise<number[]>;
}

/** `name`: as `open` takes it. Throws a DawngradError where there is none with a scalar head. */
export async function openReward(name: string, options: OpenOptions = {}): Promise<RewardModel> {
  const opened = await openedBy(name, options, "reward");
  const { device, model, slabs, tokenizer, turns } = opened;
  const { context } = model.config;
  return {
    device: `${device.info.name} (${device.info.kind})`,
    async score(items, given = {}) {
      const { template: wanted, raw, batch, signal } = checked(scoreSchema, given);
      turns.expectOpen();
      const template = templateFor(wanted, "messages", tokenizer);
      const sequences = items.map((item, i) => {
        const { ids } = encodeWhole(sampleOf(item), tokenizer, template);
        if (ids.length <= context) return Uint32Array.from(ids);
        throw new UserError(`item ${i + 1} has ${ids.length} tokens, and the model's context is ${context}`, {
          hint: "shorten it",
        });
      });
      const { gain, bias } = raw ? asTheyAre : savedNormalisation(opened);
      const scoring = { device, model, slabs, rows: batch, length: context };
      return turns.take(async (pause) => {
        const found = new Array<number>(sequences.length);
        for await (const [at, score] of scoresOf(scoring, sequences)) {
          found[at] = gain * score + bias;
          await pause();
        }
        return found;
      }, signal);
    },
    [Symbol.dispose]: () => opened[Symbol.dispose](),
  };
}

function sampleOf(item: Scored): Sample {
  if (typeof item === "string") return { kind: "text", text: item };
  return "messages" in item ? { kind: "messages", messages: item.messages } : { kind: "completion", ...item };
}
