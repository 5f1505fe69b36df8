/**
 * Distillation on written answers: at a share of the steps the student answers the prompts itself and learns what the teacher would have said
 * in its place (GKD, https://arxiv.org/abs/2306.13649, algorithm 1); at the others the answers are the data's, or the teacher's, which writes
 * them once before training begins (sequence-level distillation, https://arxiv.org/abs/1606.07947).
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { Scratch } from "../autograd/scratch";
import { shuffled } from "../data/choose";
import type { Example } from "../data/examples";
import { batchArrays, fillBatch } from "../data/layout";
import type { PromptExample } from "../data/prompts";
import { UserError } from "../errors";
import { readJson, writeTextAside } from "../files";
import { fingerprintOf } from "../fingerprint";
import type { HeadLossOf } from "../model/distillation";
import { pcg, randomAt } from "../ops/random";
import type { Batch } from "../train/stage";
import type { Share } from "../train/world";
import { answerGraph, heldOutLoss, lossAsEvaluation, valuesOf } from "./answers";
import { rowLength } from "./comparing";
import type { Built, Context } from "./context";
import { readExamples } from "./examples";
import type { Source } from "./kind";
import { answered } from "./online/answers";
import { placed, shapesFor } from "./online/shapes";
import { rollout as rollouts, writer } from "./online/writer";
import { answering } from "./sampling";
import type { SftConfig } from "./sft";
import { wholeModel } from "./trained";

const { tokens, temperature, together } = rollouts.shape;

/** How answers are written. The loss has a temperature of its own. */
export const rollout = z.strictObject({
  tokens,
  temperature: temperature
    .unwrap()
    .default(0.9)
    .meta({ description: "what logits are divided by where answers are written; the loss has its own" }),
  together,
});

export interface Writing {
  /** The share of the steps whose answers the student writes. */
  readonly onPolicy: number;
  /** The answers of the others are the teacher's. */
  readonly sequenceLevel: boolean;
  readonly rollout: z.infer<typeof rollout>;
}

export type OnPolicyConfig = Omit<SftConfig, "kind" | "lora" | "loss"> & Writing;

/** Streams of random numbers: the order of an epoch, and which steps are on policy. */
const ORDER = 307;
const COIN = 308;

export async function build(
  config: OnPolicyConfig,
  context: Context,
  teacher: Source,
  lossOf: HeadLossOf,
): Promise<Built> {
  const { name, onPolicy, sequenceLevel, rollout, batch, recompute, activations } = config;
  const { device, seed, signal, console } = context;
  const { rows, accumulate } = batch;
  const length = rowLength(batch.tokens, context.model.config.context);
  const read = await readExamples(config, context, length);
  const { template, tokenizer, held } = read;
  const room = length - rollout.tokens;
  const train = read.train.filter((example) => promptLength(example) <= room);
  const lines = [...read.lines];
  if (train.length < read.train.length)
    lines.push(
      `${name}: ${read.train.length - train.length} prompts of more than ${room} tokens are left out: an answer has ${rollout.tokens} (rollout.tokens)`,
    );
  if (train.length === 0)
    throw new UserError(`${name}: no prompt leaves room for an answer of ${rollout.tokens} tokens in ${length}`, {
      hint: "use a smaller rollout.tokens",
      exitCode: 2,
    });
  const prompts = train.map(promptOf);
  const trained = wholeModel(context);
  const how = { device, tokenizer, template, console, name, rollout: { ...rollout, prompts: 1, samples: 1 } };
  const shapes = shapesFor({
    rows,
    longest: Math.max(...train.map(({ ids }, i) => Math.max(ids.length, prompts[i]!.ids.length + rollout.tokens))),
    shortest: Math.min(...prompts.map(({ ids }) => ids.length + 1)),
    tokens: Math.max(rollout.tokens, ...train.map(({ targets }) => targets)),
  });
  const graphs = shapes.map(({ length, targets }) =>
    answerGraph(trained.model, { rows, length, targets, packing: false, lossOf, recompute, activations }),
  );
  const arrays = shapes.map(({ length, targets }) => batchArrays(rows, length, targets));
  const scratch = new Scratch(device);
  const measured = heldOutLoss(device, trained, { held, scratch, rows, length, batches: config.evaluate.batches });
  const shown = answering({ settings: config.samples, device, ...trained, template, tokenizer, seed });
  const student = onPolicy > 0 ? writer({ ...how, ...trained }) : null;
  const each = rows * accumulate;
  const stepsPerEpoch = Math.ceil(train.length / each);
  const total = config.optim.steps ?? Math.max(1, Math.round(config.epochs * stepsPerEpoch));
  const fingerprints = {
    data: fingerprintOf([...train, ...held].flatMap(({ ids, trained }) => [ids, trained])),
    teacher: teacher.weights.fingerprint(),
  };
  let given: readonly Example[] | null = sequenceLevel ? null : train;
  const weight = new Float32Array(1);
  let order: { readonly epoch: number; readonly places: readonly number[] } | null = null;
  return {
    model: trained.model,
    length,
    tokenizer,
    trained: [{ weights: trained.weights }],
    frozen: [teacher.weights],
    graphs,
    scratch,
    names: graphs[0]!.metrics.filter((name) => name !== "mean_logits"),
    fingerprints,
    steps: total,
    round: 1,
    step: microBatches,
    evaluate: async (signal) => lossAsEvaluation(await measured.loss(signal)),
    start: async () => ({
      lines: [
        ...lines,
        `${name}: ${train.length} prompts in ${stepsPerEpoch} steps an epoch, ${held.length} held out; ${shareTold(config)}`,
      ],
      held: held.length > 0 ? lossAsEvaluation(await measured.loss(signal)) : null,
    }),
    samples: shown.answers,
    write: (directory) => trained.write(directory, tokenizer),
    read: trained.read,
    [Symbol.dispose]() {
      for (const owned of [measured, shown, student, scratch]) owned?.[Symbol.dispose]();
    },
  };

  async function* microBatches(step: number, { rank, size }: Share): AsyncGenerator<Batch> {
    const places = Array.from({ length: each }, (_, i) => placeAt(step * each + i));
    const own = student !== null && randomAt(seed, COIN, step) < onPolicy;
    if (!own) given ??= await teachersAnswers();
    const examples = own ? await written(places, step) : given && places.map((at) => given![at]!);
    if (!examples) return;
    const targets = examples.reduce((sum, { targets }) => sum + targets, 0);
    for (const [i, { shape, items }] of placed(examples, shapes, rows).entries()) {
      if (i % size !== rank) continue;
      const into = arrays[shape]!;
      fillBatch(
        examples,
        items.map((item) => [item]),
        shapes[shape]!.length,
        into,
      );
      weight[0] = 1 / targets;
      yield {
        graph: shape,
        values: { ...valuesOf(into, false), weight },
        tokens: items.reduce((sum, item) => sum + examples[item]!.ids.length, 0),
        ...(i === 0 && {
          metrics: {
            epoch: ((step + 1) * each) / train.length,
            on_policy: own ? 1 : 0,
            "completions/mean_length": targets / examples.length,
          },
        }),
      };
    }
  }

  /** What the student says by the weights that it has now; null where it was interrupted. */
  async function written(places: readonly number[], step: number): Promise<Example[] | null> {
    // What was recorded must be done before anything is written by these weights.
    device.wait();
    const answers = await student!.write(places, prompts, pcg((pcg(seed) + step) >>> 0), signal);
    return answers?.map(({ example }) => example) ?? null;
  }

  /** Every epoch has all prompts, in an order of its own. */
  function placeAt(k: number): number {
    const epoch = Math.floor(k / train.length);
    if (!config.shuffle) return k % train.length;
    if (order?.epoch !== epoch) order = { epoch, places: shuffled(train.length, seed, ORDER + epoch) };
    return order.places[k % train.length]!;
  }

  /** Written once: a stage that goes on reads them again. Null where it was interrupted. */
  async function teachersAnswers(): Promise<readonly Example[] | null> {
    const path = join(context.directory, "teacher-answers.json");
    const key = fingerprintOf([JSON.stringify([fingerprints, rollout.tokens, rollout.temperature, seed])]);
    const saved = existsSync(path) ? readJson(path, savedAnswers, "remove it: it is made again") : null;
    const texts = saved?.key === key ? saved.answers : null;
    if (texts) return texts.map((ids, i) => answered(prompts[i]!, ids));
    using author = writer({ ...how, model: teacher.model, slabs: [teacher.weights] });
    const answers = await author.write([...prompts.keys()], prompts, seed, signal);
    if (!answers) return null;
    const ids = answers.map(({ example, prompt }) => [...example.ids.subarray(prompts[prompt]!.ids.length)]);
    writeTextAside(path, JSON.stringify({ key, answers: ids }));
    const whole = answers.filter(({ ended }) => ended).length;
    console.note(`${name}: the teacher has written ${answers.length} answers, of which ${whole} ended by themselves`);
    return answers.map(({ example }) => example);
  }
}

const savedAnswers = z.object({ key: z.string(), answers: z.array(z.array(z.int().min(0))) });

/** Tokens before the last answer. */
function promptLength({ trained }: Example): number {
  let at = trained.lastIndexOf(1);
  while (at > 0 && trained[at - 1]) at--;
  return at;
}

function promptOf(example: Example): PromptExample {
  return { ids: example.ids.slice(0, promptLength(example)), messages: [], columns: {}, where: example.where };
}

function shareTold({ onPolicy, sequenceLevel }: Writing): string {
  const others = sequenceLevel ? "the teacher's answers" : "the data's answers";
  return onPolicy === 0 ? others : `the student's own answers at ${100 * onPolicy}% of the steps, else ${others}`;
}
