/** A stage over pairs of answers, whatever its loss. */
import type { PairExample } from "../data/pairs";
import { showExample } from "../data/show";
import type { Weighted } from "../eval/completions";
import { fingerprintOf } from "../fingerprint";
import type { Training } from "../train/settings";
import type { Evaluation } from "../train/stage";
import { type ComparedConfig, comparedStage, type Method } from "./compared";
import type { Built, Context } from "./context";
import { dealtPair, type Objective, type Prepared, pairFeeding } from "./pairs";
import type { Reference } from "./reference";
import { answering } from "./sampling";
import type { Read } from "./split";
import { type TrainedModel, trainedParts } from "./trained";

export interface PairConfig extends ComparedConfig {
  readonly samples: Training["samples"];
}

export type PairData = Read<PairExample>;

type Means = Readonly<Record<string, number>>;

export interface PairMethod {
  readonly objective: Objective;
  readonly reference?: Reference;
  /** What each target of a pair counts for, where that is not 1: LD-DPO. */
  weigh?(pair: PairExample): NonNullable<Prepared["weights"]>;
  /** The prompts of chosen answers are learned too. */
  readonly prompts?: boolean;
  /** The loss at step 0, where that is a number whatever the model. */
  readonly expected: number | null;
  /** What is to be known of the loss, said before the first step. */
  readonly lines?: readonly string[];
  /** What is told of an evaluation beside the loss, by the means of all metrics. */
  told(values: Means): Means;
  /** More of the stage, such as a reference that moves. */
  more?(trained: TrainedModel): Partial<Method<Prepared>> & Disposable;
}

export async function pairStage(
  config: PairConfig,
  context: Context,
  { data, length, method }: { readonly data: PairData; readonly length: number; readonly method: PairMethod },
): Promise<Built> {
  const { device, seed, console } = context;
  const { train, held, template, tokenizer, lines } = data;
  const { objective, reference, weigh, expected, prompts = false } = method;
  const pairs = config.batch.rows;
  const prepared = await prepare([...train, ...held]);
  const trained = trainedParts(config.lora, context);
  const more = method.more?.(trained);
  const shown = answering({
    settings: config.samples,
    device,
    model: trained.model,
    slabs: trained.slabs,
    template,
    tokenizer,
    seed,
  });
  const live = reference?.live?.model;
  return comparedStage<Prepared>({
    config,
    device,
    seed,
    length,
    trained,
    shown,
    data: {
      train: prepared.slice(0, train.length),
      held: prepared.slice(train.length),
      tokenizer,
      fingerprint: pairFingerprint([...train, ...held]),
    },
    method: {
      rows: pairs,
      dealt: (one) => dealtPair(one, prompts),
      feeding: (model, options) =>
        pairFeeding(model, objective, { ...options, pairs, reference: live, weighted: weigh !== undefined, prompts }),
      frozen: reference?.frozen ?? [],
      judged: (values) => judged(values, method.told(values)),
      ...more,
    },
    fingerprints: {
      ...(config.lora && { "base model": context.weights.fingerprint() }),
      ...(reference && { reference: reference.fingerprint }),
    },
    start: (found, stepsPerEpoch) => [
      ...lines,
      dataLine(config.name, data, stepsPerEpoch),
      startLine(config.name, found.loss!, { expected, held: held.length > 0 }),
      ...(method.lines ?? []).map((line) => `${config.name}: ${line}`),
      ...exampleLines(config.name, data, {
        how: console.colour ? "; what is dimmed is not compared" : "; only what stands between « and » is compared",
        colour: console.colour,
      }),
    ],
    owned: [more, reference].filter((one) => one !== undefined),
  });

  async function prepare(pairs: readonly PairExample[]): Promise<readonly Prepared[]> {
    const weighted = pairs.map((pair) => ({ pair, ...(weigh && { weights: weigh(pair) }) }));
    if (!reference || reference.live) return weighted;
    const asked = weighted.flatMap(({ pair, weights }): Weighted[] => [
      { example: pair.chosen, weights: weights?.chosen },
      { example: pair.rejected, weights: weights?.rejected },
    ]);
    const found = await reference.logProbs(asked);
    return weighted.map((one, i) => ({ ...one, reference: { chosen: found[2 * i]!, rejected: found[2 * i + 1]! } }));
  }
}

export function pairFingerprint(pairs: readonly PairExample[]): string {
  return fingerprintOf(
    pairs.flatMap(({ chosen, rejected, margin, prompt }) => [
      chosen.ids,
      chosen.trained,
      rejected.ids,
      rejected.trained,
      `${margin} ${prompt}`,
    ]),
  );
}

/** The best checkpoint is that of the least loss. */
function judged(values: Means, told: Means): Evaluation {
  const kept = Object.entries({ loss: values.loss!, ...told }).map(([name, value]) => [`validation_${name}`, value]);
  return { values: Object.fromEntries(kept), score: -values.loss! };
}

function dataLine(name: string, { train, held }: PairData, stepsPerEpoch: number): string {
  const mean = (side: "chosen" | "rejected") =>
    (train.reduce((sum, pair) => sum + pair[side].targets, 0) / train.length).toFixed(1);
  const prompts = new Set(train.map(({ prompt }) => prompt)).size;
  const longer = train.filter(({ chosen, rejected }) => chosen.targets > rejected.targets).length;
  const share = ((100 * longer) / train.length).toFixed(0);
  return `${name}: ${train.length} pairs of ${prompts} prompts in ${stepsPerEpoch} steps an epoch, ${held.length} held out; the chosen answers have ${mean("chosen")} tokens, the rejected ones ${mean("rejected")}, and in ${share}% the chosen one is the longer`;
}

/** What is measured, and what it should be. */
export function startLine(
  name: string,
  loss: number,
  { expected, held }: { readonly expected: number | null; readonly held: boolean },
): string {
  const measured = `${name}: step 0: loss ${loss.toFixed(6)} ${held ? "on what is held out" : "on what is trained"}`;
  if (expected === null) return `${measured}; what it begins with depends on the model`;
  const close = Math.abs(loss - expected) <= 1e-4 * Math.max(1, Math.abs(expected));
  const should = `where policy and reference are one it is ${expected.toFixed(6)}`;
  return close ? `${measured}; ${should}, as it should be` : `${measured}; ${should}: here they differ`;
}

/** The first pair, both sides; `how` it is seen. */
export function exampleLines(
  name: string,
  { train: [first], tokenizer }: PairData,
  { how, colour }: { readonly how: string; readonly colour: boolean },
): string[] {
  const shown = (which: "chosen" | "rejected") => [
    `  ${which}`,
    ...showExample(first![which], tokenizer, { colour, most: 400 })
      .split("\n")
      .map((line) => `  | ${line}`),
  ];
  return [`${name}: a pair as the model sees it${how}`, ...shown("chosen"), ...shown("rejected")];
}
