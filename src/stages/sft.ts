/**
 * Supervised fine-tuning: the next token of answers, and of nothing else. Names, defaults and metrics follow TRL's SFTTrainer
 * (https://huggingface.co/docs/trl/sft_trainer).
 */

import { z } from "zod";
import { Scratch } from "../autograd/scratch";
import { endsItself } from "../data/cut";
import { type Deal, dealOf } from "../data/deal";
import { dealt, type Example } from "../data/examples";
import { batchArrays, fillBatch } from "../data/layout";
import { showExample } from "../data/show";
import { fingerprintOf } from "../fingerprint";
import { input } from "../tensor/tensor";
import type { ChatTemplate } from "../text/template";
import type { Tokenizer } from "../text/tokenizer";
import { batch, dropout, kept, lora, stageName, type Training, training, tuning, withRate } from "../train/settings";
import type { Batch } from "../train/stage";
import type { Share } from "../train/world";
import { answerGraph, heldOutLoss, lossAsEvaluation, valuesOf } from "./answers";
import { rowLength } from "./comparing";
import type { Built, Context } from "./context";
import { readExamples, records } from "./examples";
import { source } from "./model-settings";
import type { OtherLoss } from "./pretrain";
import { answering } from "./sampling";
import { checkLora, trainedParts } from "./trained";

const rates = [2e-5, 2e-4] as const;

export const schema = z.strictObject({
  kind: z.literal("sft").meta({ description: "answers to instructions, and conversations" }),
  name: stageName("sft"),
  ...source,
  ...records,
  shuffle: z.boolean().default(true).meta({ description: "a new order in every epoch, by seed" }),
  packing: z.boolean().default(false).meta({
    description:
      "several examples a row, by best fit, attention kept inside each; else one a row, rows of like length together",
  }),
  loss: z.enum(["nll", "dft"]).default("nll").meta({
    description:
      "nll, the cross-entropy; dft weights each token by its probability (dynamic fine-tuning, arXiv 2508.05629)",
  }),
  epochs: z.number().gt(0).default(3).meta({ description: "passes over the data; optim.steps goes before it" }),
  dropout,
  ...kept,
  lora: lora.optional().meta({ description: "trains an adapter, and not the model" }),
  ...training,
  batch: batch
    .extend({
      tokens: batch.shape.tokens.unwrap().optional().meta({
        description:
          "tokens of a row, and of an example at most; the smaller of 1024 and the model's context if absent",
      }),
    })
    .prefault({}),
  optim: tuning(rates),
});

export type SftConfig = z.infer<typeof schema>;

export const settings = (config: SftConfig): Training => withRate(config, rates);

export async function build(config: SftConfig, context: Context, other?: OtherLoss): Promise<Built> {
  const { device, seed } = context;
  const { rows, accumulate } = config.batch;
  const length = rowLength(config.batch.tokens, context.model.config.context);
  checkLora(config.lora, context);
  const { train, held, template, tokenizer, lines } = await readExamples(config, context, length);
  const deal = dealOf(train.map(dealt), {
    rows,
    tokens: length,
    accumulate,
    packing: config.packing,
    shuffle: config.shuffle,
    seed,
  });
  const total = config.optim.steps ?? Math.max(1, Math.round(config.epochs * deal.stepsPerEpoch));

  const trained = trainedParts(config.lora, context);
  const { model } = trained;
  const dropping = config.dropout > 0 || (config.lora?.dropout ?? 0) > 0;
  const dropoutSeed = input("dropout seed", [1], "u32");
  const most = deal.mostTargets(total).map((targets) => 8 * Math.ceil(Math.max(1, targets) / 8));
  const graphs = deal.lengths.map((length, i) =>
    answerGraph(model, {
      rows,
      length,
      targets: most[i]!,
      packing: config.packing,
      dft: config.loss === "dft",
      lossOf: other?.lossOf,
      recompute: config.recompute,
      activations: config.activations,
      ...(dropping && { dropout: { rate: config.dropout, seed: dropoutSeed } }),
    }),
  );
  const arrays = deal.lengths.map((length, i) => batchArrays(rows, length, most[i]!));
  const scratch = new Scratch(device);
  const measured = heldOutLoss(device, trained, { held, scratch, rows, length, batches: config.evaluate.batches });
  const shown = answering({ settings: config.samples, device, model, slabs: trained.slabs, template, tokenizer, seed });
  const weight = new Float32Array(1);
  const drop = new Uint32Array(1);
  return {
    model,
    length,
    tokenizer,
    trained: [{ weights: trained.weights }],
    frozen: [...trained.frozen, ...(other?.frozen ?? [])],
    graphs,
    scratch,
    names: graphs[0]!.metrics.filter((name) => name !== "mean_logits"),
    fingerprints: {
      data: fingerprintOf([...train, ...held].flatMap(({ ids, trained }) => [ids, trained])),
      ...(config.lora && { "base model": context.weights.fingerprint() }),
      ...other?.fingerprints,
    },
    steps: total,
    round: 1,
    step: microBatches,
    evaluate: async (signal) => lossAsEvaluation(await measured.loss(signal)),
    async start() {
      const loss = held.length ? await measured.loss() : null;
      const { colour } = context.console;
      return {
        lines: [...lines, ...startLines(config, { train, held, deal, tokenizer, template, colour, loss })],
        held: lossAsEvaluation(loss),
      };
    },
    samples: shown.answers,
    write: (directory) => trained.write(directory, tokenizer),
    read: trained.read,
    [Symbol.dispose]() {
      for (const owned of [measured, shown, scratch, trained]) owned[Symbol.dispose]();
    },
  };

  async function* microBatches(step: number, { rank, size }: Share): AsyncGenerator<Batch> {
    const { micro, targets } = deal.step(step);
    for (const [i, { graph, rows, tokens }] of micro.entries()) {
      if (i % size !== rank) continue;
      const into = arrays[graph]!;
      fillBatch(train, rows, deal.lengths[graph]!, into);
      weight[0] = 1 / targets;
      drop[0] = step * accumulate + i;
      yield {
        graph,
        values: { ...valuesOf(into, config.packing), weight, ...(dropping && { dropoutSeed: drop }) },
        tokens,
        ...(i === 0 && { metrics: { epoch: (step + 1) / deal.stepsPerEpoch } }),
      };
    }
  }
}

interface Start {
  readonly train: readonly Example[];
  readonly held: readonly Example[];
  readonly deal: Deal;
  readonly tokenizer: Tokenizer;
  readonly template: ChatTemplate;
  readonly colour: boolean;
  /** Of the untouched model; null where nothing is held out. */
  readonly loss: number | null;
}

/** What is measured, and what it should be. */
function startLines({ name }: SftConfig, { train, held, deal, tokenizer, template, colour, loss }: Start): string[] {
  const tokens = train.reduce((sum, { ids }) => sum + ids.length, 0);
  const targets = train.reduce((sum, { targets }) => sum + targets, 0);
  const ends = train.filter((example) => endsItself(example, tokenizer, template)).length;
  const endsTrained = ends === train.length ? "yes" : ends === 0 ? "no" : `in ${ends} of ${train.length}`;
  return [
    `${name}: ${train.length} examples in ${deal.stepsPerEpoch} steps an epoch, ${held.length} held out; ${targets} of ${tokens} tokens are trained (${((100 * targets) / tokens).toFixed(0)}%); end token trained: ${endsTrained}`,
    ...(ends === 0 ? [`${name}: nothing ends an answer: the model will not learn to stop`] : []),
    ...(loss === null
      ? []
      : [
          `${name}: step 0: loss ${loss.toFixed(4)} a held-out answer token of the untouched model; ${judged(loss, tokenizer)}`,
        ]),
    `${name}: an example as the model sees it; ${colour ? "what is dimmed is not trained" : "only what stands between « and » is trained"}`,
    ...showExample(train[0]!, tokenizer, { colour, most: 600 })
      .split("\n")
      .map((line) => `  | ${line}`),
  ];
}

/** A model that knows such text is far from guessing. */
function judged(loss: number, { size }: Tokenizer): string {
  const uniform = Math.log(size);
  const guessing = `${uniform.toFixed(2)}, that of guessing among ${size} tokens`;
  if (loss < 0.8 * uniform) return `it is well below ${guessing}, as it should be`;
  const why = "the model has not learned such text, or its tokenizer or the template is another's";
  return `it should be well below ${guessing}, and is ${loss < uniform ? "hardly so" : "not"}: ${why}`;
}
