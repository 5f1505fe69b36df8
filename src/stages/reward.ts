/**
 * A reward model: a scalar head on the trunk, read at the last token of a prompt with its answer, that scores the better of two answers
 * higher. Names, defaults and metrics follow TRL's RewardTrainer (https://huggingface.co/docs/trl/reward_trainer); all pairs of a prompt
 * are in one batch, as in https://arxiv.org/abs/2203.02155, section 3.5.
 */
import { z } from "zod";
import { type Group, groupsOf } from "../data/groups";
import { scoresOf } from "../eval/scores";
import { type Normalisation, writeNormalisation } from "../formats/normalisation";
import { type Training, withRate } from "../train/settings";
import { comparedStage } from "./compared";
import { comparing, rowLength } from "./comparing";
import type { Built, Context } from "./context";
import { normalisationOf, normalise, policySamples } from "./normalised";
import { exampleLines, type PairData, pairFingerprint } from "./pair-stage";
import { readPairs } from "./preferences";
import { silentAnswering } from "./sampling";
import { dealtGroup, scoredFeeding } from "./scored";
import { trainedParts } from "./trained";

const rates = [1e-4, 1e-3] as const;

const { samples: _, ...shared } = comparing({
  name: "reward",
  rows: "pairs of a micro-batch: it has room for twice as many answers",
  rates,
  epochs: 1,
});

export const schema = z.strictObject({
  kind: z.literal("reward").meta({ description: "a reward model, of pairs of answers" }),
  ...shared,
  centring: z.number().min(0).max(100).default(0).meta({
    description: "adds so much of the squared sum of a pair's rewards, which keeps them about 0; 0.01 is usual",
  }),
  normalise: normalise.prefault({}),
});

export type RewardConfig = z.infer<typeof schema>;

export const scored = true;

/** There is nothing that it could say. */
const silent = { every: 0, before: false, prompts: ["\n"], tokens: 1, temperature: 0 };

export const settings = (config: RewardConfig): Training => withRate({ ...config, samples: silent }, rates);

export const rowsOf = ({ batch }: RewardConfig) => 2 * batch.rows;

export async function build(config: RewardConfig, context: Context): Promise<Built> {
  const length = rowLength(config.batch.tokens, context.model.config.context);
  const data = await readPairs(config, context, length, { overlong: "drop" });
  return stageOf(config, context, data, length);
}

/** Of pairs that were read. */
export async function stageOf(config: RewardConfig, context: Context, data: PairData, length: number): Promise<Built> {
  const { device, seed, console } = context;
  const { name, lora, centring } = config;
  const rows = rowsOf(config);
  const said = await saidByPolicy();
  const trained = trainedParts(lora, context, { scored: true });
  const { train, held, tokenizer } = data;
  return comparedStage<Group>({
    config,
    device,
    seed,
    length,
    trained,
    shown: silentAnswering,
    data: {
      train: groupsOf(train, rows),
      held: groupsOf(held, rows),
      tokenizer,
      fingerprint: pairFingerprint([...train, ...held]),
    },
    method: {
      rows,
      // Groups differ in their answers: what goes together is found once.
      fixed: true,
      dealt: dealtGroup,
      feeding: (model, options) => scoredFeeding(model, { ...options, rows, centring }),
      judged: ({ loss, accuracy }) => ({
        values: { validation_loss: loss!, validation_accuracy: accuracy! },
        // The loss grows with certainty where the order is right already: it only decides between equals.
        score: accuracy! - 1e-6 * loss!,
      }),
      async write(directory) {
        const normalisation = await normalised();
        if (normalisation) writeNormalisation(directory, normalisation);
      },
    },
    fingerprints: lora && { "base model": context.weights.fingerprint() },
    start: (found, stepsPerEpoch) => startLines(found, stepsPerEpoch),
  });

  /** Of the policy before it is trained, which the model still is. */
  async function saidByPolicy(): Promise<Uint32Array[]> {
    if (config.normalise.samples === 0) return [];
    const { template, tokenizer, train } = data;
    const asked = train.map(({ chosen }) => chosen);
    const common = { device, tokenizer, template, console, name, seed, length };
    const of = ({ model, weights }: Pick<Context, "model" | "weights">) =>
      policySamples({ ...common, model, slabs: [weights] }, asked, config.normalise);
    // An adapter's base is the policy; the whole model has the scalar head already.
    if (lora) return await of(context);
    using policy = await context.open("from");
    return await of(policy);
  }

  async function normalised(): Promise<Normalisation | null> {
    if (said.length === 0) return null;
    const found: number[] = [];
    const scoring = { device, model: trained.model, slabs: trained.slabs, rows, length };
    for await (const [, score] of scoresOf(scoring, said)) found.push(score);
    return normalisationOf(found);
  }

  function startLines({ loss }: Readonly<Record<string, number>>, stepsPerEpoch: number): string[] {
    const { lines } = data;
    const measured = held.length > 0 ? held : train;
    const share = (100 * longerChosen(measured)).toFixed(1);
    return [
      ...lines,
      `${name}: ${train.length} pairs of ${new Set(train.map(({ prompt }) => prompt)).size} prompts in ${stepsPerEpoch} steps an epoch, ${held.length} held out`,
      `${name}: who always takes the longer answer is right in ${share}% of ${held.length > 0 ? "what is held out" : "them"}`,
      `${name}: step 0: loss ${loss!.toFixed(4)}; a head that knows nothing has about 0.6931, that of guessing`,
      ...exampleLines(name, data, { how: ", each scored at its last token", colour: console.colour }),
    ];
  }
}

/** The share of pairs whose chosen answer is the longer, ties counted by half. */
export function longerChosen(pairs: PairData["train"]): number {
  const points = pairs.map(({ chosen, rejected }) => (Math.sign(chosen.targets - rejected.targets) + 1) / 2);
  return points.reduce((sum, point) => sum + point, 0) / pairs.length;
}
