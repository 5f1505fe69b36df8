/** Two models side by side on the same prompts, scored by a rule, by a reward model, or by both. */
import { encodeWhole } from "../../data/examples";
import { templateFor } from "../../data/template-for";
import { UserError } from "../../errors";
import { type PairedScores, pairedScores } from "../../eval/paired-scores";
import { type Rule, scoresBy } from "../../eval/rule";
import type { Reporter } from "../../log/console";
import { normalisedScores } from "./normalised-scores";
import type { Pair } from "./paired-answers";
import type { Scorer } from "./subject";

export interface Scorers {
  readonly rule: Rule | null;
  readonly reward: Scorer | null;
  /** Answers that the reward model scores together. */
  readonly batch: number;
}

export interface ComparedPair extends Pick<Pair, "where" | "messages" | "a" | "b"> {
  readonly equal: boolean;
  /** By what scores them. Null where it does not judge. */
  readonly scores: Readonly<Record<string, readonly [a: number | null, b: number | null]>>;
}

export interface Compared {
  readonly prompts: number;
  /** Prompts to which both answers are the same, word for word. */
  readonly equal: number;
  readonly scores: Readonly<Record<string, PairedScores>>;
}

/** What a reward model's scores are called beside a rule's functions. */
const REWARD = "reward";

export async function comparePairs(
  pairs: readonly Pair[],
  { rule, reward, batch }: Scorers,
  console: Reporter,
): Promise<{ readonly pairs: readonly ComparedPair[]; readonly figures: Compared }> {
  const rewards = reward ? await rewardsOf(reward, pairs, batch, console) : null;
  const compared: ComparedPair[] = [];
  for (const [i, { where, messages, columns, a, b }] of pairs.entries()) {
    const scores: Record<string, readonly [number | null, number | null]> = {};
    if (rule) {
      const [first, second] = [
        await scoresBy(rule, { messages, answer: a, columns }),
        await scoresBy(rule, { messages, answer: b, columns }),
      ];
      for (const name of Object.keys(first)) scores[name] = [first[name]!, second[name]!];
    }
    if (rewards) scores[REWARD] = rewards[i]!;
    compared.push({ where, messages, a, b, equal: a === b, scores });
  }
  const names = Object.keys(compared[0]?.scores ?? {});
  return {
    pairs: compared,
    figures: {
      prompts: compared.length,
      equal: compared.filter(({ equal }) => equal).length,
      scores: Object.fromEntries(
        names.map((name) => [name, pairedScores(compared.map(({ scores }) => scores[name]!))]),
      ),
    },
  };
}

/** By the reward model's own tokenizer and template, so that it does not matter who wrote the answers. */
async function rewardsOf(
  reward: Scorer,
  pairs: readonly Pair[],
  rows: number,
  console: Reporter,
): Promise<(readonly [number, number])[]> {
  const { tokenizer, model } = reward;
  const template = templateFor("auto", "messages", tokenizer);
  const sequences = pairs.flatMap(({ where, messages, plain, a, b }) =>
    [a, b].map((answer) => {
      const { ids } = plain
        ? encodeWhole(
            { kind: "completion", prompt: messages.map(({ content }) => content).join(""), completion: answer },
            tokenizer,
            template,
          )
        : encodeWhole(
            { kind: "messages", messages: [...messages, { role: "assistant", content: answer }] },
            tokenizer,
            template,
          );
      const { context } = model.config;
      if (ids.length <= context) return Uint32Array.from(ids);
      throw new UserError(
        `${where}: an answer with its prompt has ${ids.length} tokens, and the reward model's context is ${context}`,
        { hint: "use a smaller --max-tokens" },
      );
    }),
  );
  const { normalisation } = reward;
  const scores = await normalisedScores(reward, sequences, { rows, normalisation, says: "rewards" }, console);
  return pairs.map((_, i) => [scores[2 * i]!, scores[2 * i + 1]!]);
}
