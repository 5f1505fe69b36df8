/** Pretraining: the next token on long text, as GPT-2 and nanoGPT do it (https://github.com/karpathy/nanoGPT, train.py). */
import { z } from "zod";
import { Program } from "../autograd/program";
import { Scratch } from "../autograd/scratch";
import { evenWindows, expectWindow, randomWindows, splitOff, windowOf } from "../data/batches";
import { asDocuments, tokensOf } from "../data/corpus";
import { UserError } from "../errors";
import { fingerprintOf } from "../fingerprint";
import { Engine } from "../generate/engine";
import type { Asked } from "../generate/names";
import { sampling } from "../generate/sampling";
import { percentages } from "../log/console";
import type { HeadLossOf } from "../model/distillation";
import { nextToken } from "../model/next-token";
import type { Slab } from "../model/slab";
import { input } from "../tensor/tensor";
import { tick } from "../tick";
import { dropout, kept, optim, samplePrompts, stageName, steps, type Training, training } from "../train/settings";
import type { Batch } from "../train/stage";
import type { Share } from "../train/world";
import { lossAsEvaluation } from "./answers";
import type { Built, Context } from "./context";
import { NO_VALIDATION, source } from "./model-settings";
import { wholeModel } from "./trained";

export const schema = z.strictObject({
  kind: z.literal("pretrain").meta({ description: "the next token on long text" }),
  name: stageName("pretrain"),
  ...source,
  data: z
    .union([z.string(), z.array(z.string()).min(1)])
    .meta({ description: "text file or files, each a document or more; <|endoftext|> ends one", neutral: true }),
  validation: z
    .union([z.number().gt(0).lt(1), z.string()])
    .default(0.1)
    .meta({ description: "share of the text's end that is held out, or a text file; none evaluates nothing" }),
  dropout,
  ...kept,
  ...training,
  optim: optim.extend({ steps }),
});

export type PretrainConfig = z.infer<typeof schema>;

export const settings = (config: PretrainConfig): Training => config;

/** A loss in the place of the cross-entropy, and the weights that it reads. */
export interface OtherLoss {
  readonly lossOf: HeadLossOf;
  readonly frozen: readonly Slab[];
  readonly fingerprints: Readonly<Record<string, string>>;
}

export async function build(config: PretrainConfig, context: Context, other?: OtherLoss): Promise<Built> {
  const { device, seed, model, weights, tokenizer, signal } = context;
  const { batch } = config;
  const { rows, tokens: length, accumulate } = batch;
  if (length > model.config.context) {
    throw new UserError(`batch.tokens is ${length}, and the model's context is ${model.config.context}`, {
      hint: "use fewer tokens a row or a larger model.context",
      exitCode: 2,
    });
  }
  const { train, validation } = await readSplit(config, context);
  const size = rows * length;
  const dropoutSeed = input("dropout seed", [1], "u32");
  const dropped = config.dropout > 0;
  const { loss, sums, metrics, rowPositions, ...inputs } = nextToken(model, {
    rows,
    length,
    lossOf: other?.lossOf,
    recompute: config.recompute,
    activations: config.activations,
    ...(dropped && { dropout: { rate: config.dropout, seed: dropoutSeed } }),
  });
  const scratch = new Scratch(device);
  const held = evaluation(config, context, validation, scratch);
  const { frozen, slabs, write, read } = wholeModel(context);
  const engine = new Engine(device, model, slabs);
  const prompts = samplePrompts(config.samples).map((prompt) => tokenizer.encode(prompt));
  engine.expectPrompts(prompts);
  const into = windowOf(batch);
  const drop = new Uint32Array(1);
  return {
    model,
    length,
    tokenizer,
    trained: [{ weights }],
    frozen: [...frozen, ...(other?.frozen ?? [])],
    graphs: [
      {
        inputs: { ...inputs, ...(dropped && { dropoutSeed }) },
        loss,
        sums,
        constants: { positions: rowPositions, weight: new Float32Array([1 / (size * accumulate)]) },
      },
    ],
    scratch,
    names: metrics.filter((name) => name !== "mean_logits"),
    fingerprints: { data: fingerprintOf([train, validation]), ...other?.fingerprints },
    steps: config.optim.steps,
    round: 1,
    step: microBatches,
    evaluate: async (signal) => lossAsEvaluation(await held.loss(signal)),
    async start() {
      const found = validation.length > 0 ? lossAsEvaluation(await held.loss(signal)) : null;
      if (!found) return { lines: [], held: null };
      const guessing = `${Math.log(tokenizer.size).toFixed(4)}, that of guessing among ${tokenizer.size} tokens`;
      const should = context.base === null ? `a new model has about ${guessing}` : `it is to be well below ${guessing}`;
      const line = `${config.name}: step 0: loss ${found.values.validation_loss!.toFixed(4)} on what is held out; ${should}`;
      return { lines: [line], held: found };
    },
    samples: (signal) => writeSamples(config, context, { engine, prompts, signal }),
    write: (directory) => write(directory, tokenizer),
    read,
    [Symbol.dispose]() {
      held[Symbol.dispose]();
      engine[Symbol.dispose]();
      scratch[Symbol.dispose]();
    },
  };

  async function* microBatches(step: number, { rank, size: ranks }: Share): AsyncGenerator<Batch> {
    const epoch = ((step + 1) * size * accumulate) / train.length;
    for (let micro = rank; micro < accumulate; micro += ranks) {
      const index = step * accumulate + micro;
      randomWindows(train, batch, { seed, index, into });
      drop[0] = index;
      const values = { ...into, ...(dropped && { dropoutSeed: drop }) };
      yield { graph: 0, values, tokens: size, ...(micro === 0 && { metrics: { epoch } }) };
    }
  }
}

async function readSplit({ data, validation, batch }: PretrainConfig, { tokenizer, find, console }: Context) {
  const read = async (path: string) =>
    tokensOf(await find(path), {
      name: path,
      tokenizer,
      onProgress: percentages(console, `tokenising ${path}`),
      onNote: console.note,
    });
  const parts = [];
  for (const path of [data].flat()) parts.push(await read(path));
  console.done();
  if (parts.length > 1 && tokenizer.endOfText === null)
    console.note("the tokenizer has no end token: the files follow one another as one text");
  const all = asDocuments(parts, tokenizer);
  expectWindow(all, batch.tokens, "the corpus");
  if (validation === NO_VALIDATION) return { train: all, validation: all.subarray(0, 0) };
  const split =
    typeof validation === "number" ? splitOff(all, validation) : { train: all, validation: await read(validation) };
  expectWindow(split.train, batch.tokens, "the training text");
  expectWindow(split.validation, batch.tokens, "the validation text");
  return split;
}

/** Mean loss over evenly spaced windows of the held-out text, without dropout. */
function evaluation(
  { batch, evaluate }: PretrainConfig,
  { device, model, weights }: Context,
  from: Uint16Array | Uint32Array,
  scratch: Scratch,
) {
  const { tokens, positions, targets, weight, loss, rowPositions } = nextToken(model, {
    rows: batch.rows,
    length: batch.tokens,
  });
  let made: Program | undefined;
  const compiled = () => {
    if (made) return made;
    made = new Program(device, [loss], { bind: weights.bind(), scratch });
    made.feed(positions, rowPositions);
    made.feed(weight, new Float32Array([1 / rowPositions.length]));
    return made;
  };
  const into = windowOf(batch);
  const one = new Float32Array(1);
  return {
    async loss(signal: AbortSignal): Promise<number | null> {
      const program = compiled();
      let total = 0;
      for (let index = 0; index < evaluate.batches; index++) {
        await tick();
        if (signal.aborted) return null;
        evenWindows(from, batch, { index, count: evaluate.batches, into });
        program.feed(tokens, into.tokens);
        program.feed(targets, into.targets);
        program.run();
        device.download(program.slice(loss), one);
        total += one[0]!;
      }
      return total / evaluate.batches;
    },
    [Symbol.dispose]: () => made?.[Symbol.dispose](),
  };
}

async function* writeSamples(
  { samples }: PretrainConfig,
  { tokenizer, seed }: Context,
  { engine, prompts, signal }: { engine: Engine; prompts: readonly number[][]; signal: AbortSignal },
): AsyncGenerator<string> {
  const options = sampling.parse({ temperature: samples.temperature, maxTokens: samples.tokens, seed });
  const asked: Asked = new Map();
  for (const [i, prompt] of prompts.entries()) {
    const stream = tokenizer.stream(prompt);
    let text = samples.prompts[i]!;
    const ends = (_row: number, id: number) => id === tokenizer.endOfText;
    for (const [id] of engine.generate([prompt], { ...options, ends, asked })) {
      await tick();
      if (signal.aborted) return;
      if (id !== tokenizer.endOfText) text += stream.push(id!);
    }
    yield `  | ${(text + stream.end()).trim().replaceAll("\n", "\n  | ")}`;
  }
}
