/** The rewards of a stage, opened: reward models, rules, modules and endpoints, asked about the answers of a round. */
import { z } from "zod";
import type { Scratch } from "../../autograd/scratch";
import type { PromptExample } from "../../data/prompts";
import { UserError } from "../../errors";
import { openNamed, rewardKind, rewardName } from "../../rewards/named";
import type { Answered, Reward } from "../../rewards/reward";
import { ruleNames, ruleNear, ruleOf } from "../../rewards/rules";
import type { Context } from "../context";
import type { Score } from "./advantages";
import type { Answer } from "./answers";
import { answerScores } from "./scorer";
import { openScoring } from "./scoring-model";
import type { Shape } from "./shapes";

/** The keys of a config that say what answers are worth. */
export const rewards = {
  rewards: z
    .array(z.string().min(1))
    .min(1)
    .meta({
      description: `what answers are worth, one or several: a reward model (a stage, a run, a directory, a Hub name); a rule (${ruleNames.map(({ name }) => name).join(", ")}); a module, such as rule.ts, or rule.ts#truth for a function of it; or an endpoint (http://...)`,
      named: true,
    }),
  weights: z
    .array(z.number().min(-1000).max(1000))
    .optional()
    .meta({ description: "with several rewards: what each is multiplied with; 1 if absent" }),
  timeout: z.number().gt(0).max(86_400).default(60).meta({
    description: "seconds after which a module or an endpoint that does not answer ends the stage",
    neutral: true,
  }),
};

export type RewardsConfig = z.infer<z.ZodObject<typeof rewards>>;

/** What is wrong with them. */
export function rewardProblems({ rewards, weights }: RewardsConfig): [key: string, message: string][] {
  const problems: [string, string][] = [];
  if (weights && weights.length !== rewards.length)
    problems.push(["weights", `there are ${weights.length} for ${rewards.length} rewards`]);
  if (new Set(rewards).size < rewards.length) problems.push(["rewards", "names a reward twice: give it a weight"]);
  for (const name of rewards) {
    try {
      rewardKind(name);
    } catch (error) {
      problems.push(["rewards", (error as Error).message]);
    }
  }
  return problems;
}

/** The models among them, by the keys under which a stage opens them. */
export function rewardModels({ rewards }: Pick<RewardsConfig, "rewards">): Readonly<Record<string, string>> {
  const models = rewards.flatMap((name, i): [string, string][] =>
    rewardKind(name).kind === "model" ? [[keyOf(i), name]] : [],
  );
  return Object.fromEntries(models);
}

/** The modules among them: files that a stage's result depends on. */
export function rewardFiles({ rewards }: Pick<RewardsConfig, "rewards">): readonly string[] {
  return rewards.flatMap((name) => {
    const kind = rewardKind(name);
    return kind.kind === "module" ? [kind.path] : [];
  });
}

const keyOf = (i: number) => `rewards ${i + 1}`;

export interface Rewarding extends Disposable {
  readonly names: readonly string[];
  readonly weights: readonly number[];
  readonly fingerprints: Readonly<Record<string, string>>;
  /** For people: of prompts that some rule cannot judge. */
  readonly lines: readonly string[];
  /** By reward, then by answer; null where `signal` was aborted first. */
  score(answers: readonly Answer[], prompts: readonly PromptExample[], signal: AbortSignal): Promise<Score[][] | null>;
}

export interface RewardingOptions {
  readonly rows: number;
  readonly shapes: readonly Shape[];
  readonly scratch: Scratch;
  /** Tokens of a prompt with its answer at most. */
  readonly length: number;
  /** Those that are trained. */
  readonly prompts: readonly PromptExample[];
}

interface Opened extends Disposable {
  readonly name: string;
  readonly fingerprint: string | null;
  score(
    answers: readonly Answer[],
    prompts: readonly PromptExample[],
    signal: AbortSignal,
  ): Promise<readonly Score[] | null>;
}

export async function openRewards(
  { rewards, weights = rewards.map(() => 1), timeout }: RewardsConfig,
  context: Context,
  options: RewardingOptions,
): Promise<Rewarding> {
  const lines = rewards.flatMap((given) => unjudged(given, options.prompts));
  const opened: Opened[] = [];
  try {
    for (const [i, given] of rewards.entries()) {
      if (rewardKind(given).kind === "model") opened.push(await openModel(given, keyOf(i), context, options));
      else opened.push(byWords(await openNamed(given, { find: context.find, timeout })));
    }
  } catch (error) {
    for (const one of opened) one[Symbol.dispose]();
    throw error;
  }
  return {
    names: distinct(opened.map(({ name }) => name)),
    weights,
    lines,
    fingerprints: Object.fromEntries(
      opened.flatMap(({ fingerprint }, i) => (fingerprint === null ? [] : [[keyOf(i), fingerprint]])),
    ),
    async score(answers, prompts, signal) {
      const found: Score[][] = [];
      for (const one of opened) {
        const scores = await one.score(answers, prompts, signal);
        if (!scores) return null;
        found.push([...scores]);
      }
      return found;
    },
    [Symbol.dispose]() {
      for (const one of opened) one[Symbol.dispose]();
    },
  };
}

/** Two rewards of one name are told apart by a number. */
function distinct(names: readonly string[]): string[] {
  return names.map((name, i) => {
    const before = names.slice(0, i).filter((other) => other === name).length;
    return before === 0 ? name : `${name}_${before + 1}`;
  });
}

/** Whether a rule judges depends on the record alone: none would be learned from, without a word, where it has nothing to compare with. */
function unjudged(given: string, prompts: readonly PromptExample[]): string[] {
  const rule = ruleOf(given);
  const without = rule ? prompts.filter(({ messages, columns }) => rule(messages, "", columns) === null) : [];
  const [first] = without;
  if (!first) return [];
  if (without.length < prompts.length)
    return [
      `${given}: ${without.length} of ${prompts.length} prompts have no answer to compare with, first ${first.where}`,
    ];
  throw new UserError(`the reward ${given} has nothing to compare with: no prompt has an answer beside it`, {
    hint: `it is looked for in answer, answers, output, completion, response or the last of messages; ${first.where} has ${Object.keys(first.columns).join(", ")}`,
  });
}

function byWords(reward: Reward): Opened {
  return {
    name: reward.name,
    fingerprint: null,
    score: (answers, prompts) =>
      reward.score(
        answers.map(({ prompt, text, example }): Answered => {
          const { messages, columns } = prompts[prompt]!;
          return { messages, answer: text, columns, ids: example.ids };
        }),
      ),
    [Symbol.dispose]: () => reward[Symbol.dispose](),
  };
}

/** `where`: before the hint. */
export function notScored(given: string, where = ""): UserError {
  const near = ruleNear(given);
  return new UserError(`${given} is no reward model: it has no scalar head`, {
    hint: `${where}train one with dawngrad reward${near ? `; or did you mean the rule ${near}?` : ""}`,
    exitCode: 2,
  });
}

async function openModel(
  given: string,
  key: string,
  context: Context,
  { rows, shapes, scratch, length }: RewardingOptions,
): Promise<Opened> {
  const source = await openScoring(context, {
    key,
    what: `the reward model ${given}`,
    length,
    expect({ scored }) {
      if (!scored) throw notScored(given);
    },
  });
  const { model, weights, normalisation } = source;
  const scorer = answerScores({ device: context.device, model, slabs: [weights], rows, shapes, scratch });
  return {
    name: rewardName(given),
    fingerprint: weights.fingerprint(),
    async score(answers, _prompts, signal) {
      const found = await scorer.find(
        answers.map(({ example }) => example),
        signal,
      );
      return found?.map(([score]) => normalisation.gain * score! + normalisation.bias) ?? null;
    },
    [Symbol.dispose]() {
      scorer[Symbol.dispose]();
      source[Symbol.dispose]();
    },
  };
}
