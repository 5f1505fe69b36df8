/**
 * Kahneman-Tversky optimisation (https://arxiv.org/abs/2402.01306): a policy learns from answers that are good or bad alone, held to a
 * reference. Names, defaults and metrics follow TRL's KTOTrainer (https://huggingface.co/docs/trl/kto_trainer); the baseline is the whole
 * step's, and not each micro-batch's.
 */
import { z } from "zod";
import type { JudgedExample } from "../data/pairs";
import { showExample } from "../data/show";
import { UserError } from "../errors";
import { fingerprintOf } from "../fingerprint";
import { type Training, withRate } from "../train/settings";
import { baselineOf, mismatched } from "./baseline";
import { comparedStage, dealFor } from "./compared";
import { comparing, rowLength } from "./comparing";
import type { Built, Context } from "./context";
import { dealtJudged, type Judged, judgedFeeding } from "./judged";
import { startLine } from "./pair-stage";
import { readJudged } from "./preferences";
import { openReference, reference } from "./reference";
import { answering } from "./sampling";
import type { Read } from "./split";
import { trainedParts } from "./trained";

const rates = [1e-6, 5e-6] as const;

export const schema = z
  .strictObject({
    kind: z.literal("kto").meta({ description: "answers that are good or bad, by KTO" }),
    ...comparing({ name: "kto", rows: "answers of a micro-batch", rates, epochs: 1 }),
    ...reference,
    loss: z
      .enum(["kto", "apo_zero_unpaired"])
      .default("kto")
      .meta({ description: "kto, or APO's without a baseline (arXiv 2408.06266)" }),
    beta: z
      .number()
      .gt(0)
      .max(1000)
      .default(0.1)
      .meta({ description: "how strongly the policy is held to the reference" }),
    desirable: z.number().min(0).max(1000).default(1).meta({ description: "what a good answer counts for" }),
    undesirable: z.number().min(0).max(1000).default(1).meta({ description: "what a bad answer counts for" }),
  })
  .superRefine(({ loss, batch, desirable, undesirable }, context) => {
    if (desirable === 0 && undesirable === 0)
      context.addIssue({ code: "custom", path: ["desirable"], message: "with undesirable 0 too nothing is learned" });
    if (loss === "kto" && batch.rows * batch.accumulate < 2)
      context.addIssue({
        code: "custom",
        path: ["batch", "rows"],
        message: "a step of one answer has no other that its prompt could be paired with: kto needs two at least",
      });
  });

export type KtoConfig = z.infer<typeof schema>;

export const settings = (config: KtoConfig): Training => withRate(config, rates);

export const reads = ({ reference }: KtoConfig) => ({ reference });

export async function build(config: KtoConfig, context: Context): Promise<Built> {
  const length = rowLength(config.batch.tokens, context.model.config.context);
  return stageOf(config, context, await readJudged(config, context, length), length);
}

/** Of answers that were read. */
export async function stageOf(
  config: KtoConfig,
  context: Context,
  data: Read<JudgedExample>,
  length: number,
): Promise<Built> {
  const { device, seed } = context;
  const { name, lora, loss, beta, desirable, undesirable } = config;
  const { train, held, template, tokenizer } = data;
  const { rows } = config.batch;
  if (loss === "kto" && train.length < 2)
    throw new UserError(`${name}: there is one answer, and kto needs two at least`, { hint: "give more data" });
  const held_ = await openReference(config, context, { rows, length });
  // What goes together in a step is found once: a prompt keeps the answer that it is mismatched with, and its reference is known.
  const method = { rows, fixed: true };
  const prepared = await prepare();
  const trained = trainedParts(lora, context);
  const { model, slabs } = trained;
  const live = held_.live?.model;
  const frozen = held_.frozen;
  const baseline = baselineOf(device, { model, slabs: [...slabs, ...frozen], reference: live, rows, length });
  const shown = answering({ settings: config.samples, device, model, slabs, template, tokenizer, seed });
  return comparedStage<Judged>({
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
      fingerprint: fingerprintOf(
        [...train, ...held].flatMap(({ answer, good }) => [answer.ids, answer.trained, String(good)]),
      ),
    },
    method: {
      ...method,
      dealt: dealtJudged,
      feeding: (model, options) =>
        judgedFeeding(model, {
          ...options,
          loss,
          beta,
          desirable,
          undesirable,
          rows,
          reference: live,
          baseline: baseline.tensor,
        }),
      frozen: loss === "kto" ? [...frozen, baseline.slab] : frozen,
      ...(loss === "kto" && {
        before: (_, items, scratch) =>
          baseline.find(
            items.map(({ mismatched }) => mismatched!),
            scratch,
          ),
      }),
      judged: (means) => ({
        values: {
          validation_loss: means.loss!,
          "validation_rewards/margins": means["rewards/margins"]!,
          "validation_logps/chosen": means["logps/chosen"]!,
        },
        score: -means.loss!,
      }),
    },
    fingerprints: { ...(lora && { "base model": context.weights.fingerprint() }), reference: held_.fingerprint },
    start: (found, stepsPerEpoch, measured) => startLines(found.loss!, stepsPerEpoch, measured),
    owned: [baseline, held_],
  });

  async function prepare(): Promise<readonly Judged[]> {
    const all = [...train, ...held];
    const others = loss === "kto" ? [...mismatchedTrain(), ...mismatched(held, length, train[0])] : [];
    const asked = [...all.map(({ answer }) => answer), ...others].map((example) => ({ example }));
    const found = held_.live ? null : await held_.logProbs(asked);
    return all.map((judged, i) => ({
      judged,
      reference: found?.[i],
      mismatched: others[i] ? { example: others[i], reference: found?.[all.length + i] } : null,
    }));
  }

  /** Of every answer that is trained, within the step that it is dealt to. */
  function mismatchedTrain() {
    const items = train.map((judged) => dealtJudged({ judged, mismatched: null }));
    const deal = dealFor(items, { config, method, length, seed });
    const found = new Array<ReturnType<typeof mismatched>[number]>(train.length);
    for (let step = 0; step < deal.stepsPerEpoch; step++) {
      const places = deal.step(step).micro.flatMap(({ rows }) => rows.flat());
      const spare = train[places[0] === 0 ? 1 : 0];
      for (const [i, example] of mismatched(
        places.map((at) => train[at]!),
        length,
        spare,
      ).entries())
        found[places[i]!] = example;
    }
    return found;
  }

  function startLines(loss: number, stepsPerEpoch: number, measured: readonly Judged[]): string[] {
    const good = train.filter(({ good }) => good).length;
    const bad = train.length - good;
    const ratio = (desirable * good) / (undesirable * bad);
    const weights = measured.map(({ judged }) => (judged.good ? desirable : undesirable));
    const expected = weights.reduce((sum, weight) => sum + weight, 0) / weights.length / 2;
    const [first] = train;
    return [
      ...data.lines,
      `${name}: ${good} good and ${bad} bad answers in ${stepsPerEpoch} steps an epoch, ${held.length} held out`,
      ...(ratio >= 1 && ratio <= 4 / 3
        ? []
        : [
            bad === 0
              ? `${name}: no answer is bad: nothing says what is to become less likely`
              : `${name}: good answers weigh ${ratio.toFixed(2)} times what bad ones do; between 1 and 1.33 is advised: set desirable and undesirable`,
          ]),
      startLine(name, loss, { expected: config.reference === undefined ? expected : null, held: held.length > 0 }),
      `${name}: ${first!.good ? "a good" : "a bad"} answer as the model sees it`,
      ...showExample(first!.answer, tokenizer, { colour: context.console.colour, most: 400 })
        .split("\n")
        .map((line) => `  | ${line}`),
    ];
  }
}
