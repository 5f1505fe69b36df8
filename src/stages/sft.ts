/**
 * Supervised fine-tuning: the next token of answers, and of nothing else. Names, defaults and metrics follow TRL's SFTTrainer
 * (https://huggingface.co/docs/trl/sft_trainer).
 */
import { readFileSync } from "node:fs";
import { z } from "zod";
import { Program } from "../autograd/program";
import {
  addReports,
  type Example,
  encodeSamples,
  holdOut,
  type Loaded,
  loadSamples,
  reportLines,
  subsetOf,
} from "../data/examples";
import { formats } from "../data/formats";
import { type BatchArrays, batchArrays, fillBatch, type Plan, planOf } from "../data/plan";
import { showExample } from "../data/show";
import { templateFor } from "../data/template-for";
import type { Slice } from "../device/device";
import { UserError } from "../errors";
import { Engine } from "../generate/engine";
import { sampling } from "../generate/sampling";
import { throttled } from "../log/console";
import type { Gpt2, HiddenOptions } from "../model/gpt2";
import { tokenMetrics } from "../model/next-token";
import { gather } from "../ops/gather";
import { input, type Tensor } from "../tensor/tensor";
import type { ChatTemplate } from "../text/template";
import { type Tokenizer, tokenizerFrom } from "../text/tokenizer";
import { batch, dropout, kept, lora, optim, stageName, steps, type Training, training } from "../train/settings";
import type { Batch, Graph } from "../train/stage";
import type { Built, Context } from "./context";
import { type Trained, trainedParts } from "./trained";

export const records = {
  format: z
    .enum(["auto", ...formats])
    .default("auto")
    .meta({ description: "what the records are; auto goes by their fields" }),
  template: z.string().min(1).default("auto").meta({
    description:
      "alpaca, instruction, chat, or a Jinja file; auto takes the model's own, else alpaca or instruction for such records and chat for others",
  }),
  trees: z
    .strictObject({
      paths: z
        .enum(["best", "all"])
        .default("best")
        .meta({ description: "message trees: the best answers, or every way" }),
      lang: z.string().default("").meta({ description: "message trees: only this language, such as en" }),
      quality: z
        .number()
        .min(0)
        .max(1)
        .default(0)
        .meta({ description: "message trees: the least quality by reviewers" }),
    })
    .prefault({}),
  strict: z.boolean().default(false).meta({ description: "stop at the first record that cannot be used as it is" }),
};

export const schema = z.strictObject({
  kind: z.literal("sft").meta({ description: "answers to instructions, and conversations" }),
  name: stageName("sft"),
  data: z.union([z.string(), z.array(z.string()).min(1)]).meta({
    description:
      "JSON, JSONL, CSV or Parquet (.gz too) of instructions, conversations or text; or the name of a data set",
  }),
  ...records,
  validation: z
    .union([z.number().gt(0).lt(1), z.string()])
    .default(0.05)
    .meta({ description: "share of the examples that is held out, by seed, or a data file" }),
  subset: z.int().min(0).default(0).meta({ description: "use only so many records, chosen by seed; 0 for all" }),
  shuffle: z.boolean().default(true).meta({ description: "a new order in every epoch, by seed" }),
  packing: z.boolean().default(false).meta({
    description:
      "several examples a row, by best fit, attention kept inside each; else one a row, rows of like length together",
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
  optim: optim
    .extend({
      steps: steps.optional(),
      lr: z
        .number()
        .gt(0)
        .max(10)
        .optional()
        .meta({ description: "peak learning rate; 2e-5 if absent, with lora 2e-4" }),
      schedule: optim.shape.schedule.unwrap().default("linear"),
      floor: optim.shape.floor.unwrap().default(0),
      beta2: optim.shape.beta2.unwrap().default(0.999),
      weightDecay: optim.shape.weightDecay.unwrap().default(0),
    })
    .prefault({}),
});

export type SftConfig = z.infer<typeof schema>;

export const settings = (config: SftConfig): Training => ({
  ...config,
  optim: { ...config.optim, lr: config.optim.lr ?? (config.lora ? 2e-4 : 2e-5) },
});

export async function build(config: SftConfig, context: Context): Promise<Built> {
  const { device, seed } = context;
  const { rows, accumulate } = config.batch;
  const length = rowLength(config, context.model);
  const { train, held, template, tokenizer, lines } = await readExamples(config, context, length);
  const plan = planOf(train, {
    rows,
    tokens: length,
    accumulate,
    packing: config.packing,
    shuffle: config.shuffle,
    seed,
  });
  const total = config.optim.steps ?? Math.max(1, Math.round(config.epochs * plan.stepsPerEpoch));

  const trained = trainedParts(config.lora, context);
  const { model } = trained;
  const dropping = config.dropout > 0 || (config.lora?.dropout ?? 0) > 0;
  const dropoutSeed = input("dropout seed", [1], "u32");
  const most = plan.mostTargets(total).map((targets) => 8 * Math.ceil(Math.max(1, targets) / 8));
  const graphs = plan.lengths.map((length, i) =>
    answerGraph(model, {
      rows,
      length,
      targets: most[i]!,
      packing: config.packing,
      recompute: config.recompute,
      activations: config.activations,
      ...(dropping && { dropout: { rate: config.dropout, seed: dropoutSeed } }),
    }),
  );
  const arrays = plan.lengths.map((length, i) => batchArrays(rows, length, most[i]!));
  const measured = evaluation(config, context, trained, { held, length });
  const engine = new Engine(device, model, trained.slabs);
  return {
    model,
    length,
    tokenizer,
    weights: trained.weights,
    frozen: trained.frozen,
    graphs,
    names: tokenMetrics,
    steps: total,
    counts: (step) => ({ num_tokens: plan.tokensBefore(step), epoch: step / plan.stepsPerEpoch }),
    microBatches: (step) => plan.step(step).micro.length,
    batches,
    evaluate: measured.loss,
    start: () => [...lines, ...startLines(config, { train, held, plan, tokenizer, loss: measured.loss() })],
    samples: () => writeSamples(config, { engine, tokenizer, template, seed }),
    writeModel: (directory) => trained.write(directory, tokenizer),
    readModel: trained.read,
    [Symbol.dispose]() {
      for (const owned of [measured, engine, trained]) owned[Symbol.dispose]();
    },
  };

  async function* batches(first: number): AsyncGenerator<Batch, never> {
    const weight = new Float32Array(1);
    const drop = new Uint32Array(1);
    for (let step = first; ; step++) {
      const { micro, targets } = plan.step(step);
      for (const [i, { graph, rows }] of micro.entries()) {
        const into = arrays[graph]!;
        fillBatch(train, rows, plan.lengths[graph]!, into);
        weight[0] = 1 / targets;
        drop[0] = step * accumulate + i;
        yield { graph, values: { ...valuesOf(into, config.packing), weight, ...(dropping && { dropoutSeed: drop }) } };
      }
    }
  }
}

function rowLength({ batch }: SftConfig, { config: { context } }: Gpt2): number {
  const length = batch.tokens ?? Math.min(1024, context);
  if (length <= context) return length;
  throw new UserError(`batch.tokens is ${length}, and the model's context is ${context}`, {
    hint: "use fewer tokens a row or a model with a longer context",
    exitCode: 2,
  });
}

interface Data {
  readonly train: readonly Example[];
  readonly held: readonly Example[];
  readonly template: ChatTemplate;
  readonly tokenizer: Tokenizer;
  /** What became of the records. */
  readonly lines: string[];
}

async function readExamples(
  config: SftConfig,
  { tokenizer, console, find, seed }: Context,
  tokens: number,
): Promise<Data> {
  const { strict, trees, validation } = config;
  const format = config.format === "auto" ? undefined : config.format;
  const load = async (path: string) => loadSamples(await find(path), { format, trees, strict, name: path });
  const files: (Loaded & { readonly path: string })[] = [];
  for (const path of [config.data].flat()) files.push({ ...(await load(path)), path });
  const template = templateFor(config.template, files[0]!.format, tokenizer, (path) => readFileSync(path, "utf8"));
  const lines: string[] = [];
  const encode = (loaded: Loaded, path: string) => {
    const onProgress = throttled((done: number, total: number) =>
      console.status(`tokenising ${path}  ${Math.floor((100 * done) / total)}%`),
    );
    const { examples, report } = encodeSamples(loaded, { tokenizer, template, tokens, strict, onProgress });
    if (examples.length === 0)
      throw new UserError(`${path}: no example is left`, {
        hint: reportLines(report, path)
          .slice(1)
          .map((line) => line.trim())
          .join("; "),
      });
    return { examples, report };
  };
  const parts = files.map(({ path, ...loaded }) => {
    const samples = config.subset
      ? subsetOf(loaded.samples, Math.ceil(config.subset / files.length), seed)
      : loaded.samples;
    const { examples, report } = encode({ ...loaded, samples }, path);
    const chosen = samples.length < loaded.samples.length ? `, ${samples.length} samples chosen by seed` : "";
    lines.push(...reportLines(report, `${path} (${loaded.format}${chosen})`));
    return { examples, report };
  });
  if (parts.length > 1)
    lines.push(...reportLines(parts.map(({ report }) => report).reduce(addReports), "in all").slice(0, 1));
  console.done();
  const all = parts.flatMap(({ examples }) => examples);
  const withTemplate = tokenizerFrom({
    tokenizer: tokenizer.files.tokenizer,
    config: { ...tokenizer.files.config, chat_template: template.source },
  });
  const made = { template, tokenizer: withTemplate, lines };
  if (typeof validation === "string") {
    const { examples, report } = encode(await load(validation), validation);
    lines.push(...reportLines(report, validation));
    return { train: all, held: examples, ...made };
  }
  if (all.length < 2)
    throw new UserError(`one example cannot be split`, { hint: "give validation a file, or more data" });
  const { train, held } = holdOut(all, validation, seed);
  return { train, held, ...made };
}

interface AnswerGraph extends Graph {
  readonly inputs: Readonly<Record<string, Tensor>>;
}

interface GraphOptions extends Omit<HiddenOptions, "cache" | "starts"> {
  readonly rows: number;
  /** Places that are predicted: the head computes no others. */
  readonly targets: number;
  readonly packing: boolean;
}

/** The loss of the answers in a micro-batch. */
export function answerGraph(model: Gpt2, { rows, targets: count, packing, ...options }: GraphOptions): AnswerGraph {
  const size = rows * options.length;
  const [tokens, positions, starts] = ["tokens", "positions", "starts"].map((name) => input(name, [size], "u32")) as [
    Tensor,
    Tensor,
    Tensor,
  ];
  const [places, targets] = [input("places", [count], "u32"), input("targets", [count], "u32")];
  const weight = input("weight", [1]);
  const hidden = model.hidden(tokens, positions, { ...options, ...(packing && { starts }) });
  const { loss, sums } = model.loss(gather(hidden, places), targets, weight, options.dropout);
  const seed = options.dropout && { dropoutSeed: options.dropout.seed };
  const inputs = { tokens, positions, ...(packing && { starts }), places, targets, weight, ...seed };
  return { inputs, loss, sums, constants: {} };
}

function valuesOf({ starts, ...values }: BatchArrays, packing: boolean) {
  return { ...values, ...(packing && { starts }) };
}

/** Loss a token of the held-out examples, without dropout. */
function evaluation(
  { batch: { rows }, evaluate }: SftConfig,
  { device }: Context,
  { model, slabs }: Trained,
  { held, length }: { held: readonly Example[]; length: number },
) {
  const plan = planOf(held, { rows, tokens: length, accumulate: 1, packing: false, shuffle: false, seed: 0 });
  const count = Math.min(plan.stepsPerEpoch, evaluate.batches);
  const chosen = Array.from({ length: count }, (_, i) => plan.step(Math.floor((i * plan.stepsPerEpoch) / count)));
  const most = plan.mostTargets(plan.stepsPerEpoch);
  const bind = () => new Map(slabs.flatMap((slab) => [...slab.bind()] as [Tensor, Slice][]));
  const compiled = new Map<number, { graph: Graph; program: Program; arrays: BatchArrays }>();
  const compile = (at: number) => {
    let made = compiled.get(at);
    if (made) return made;
    const length = plan.lengths[at]!;
    const graph = answerGraph(model, { rows, length, targets: most[at]!, packing: false });
    made = {
      graph,
      program: new Program(device, [graph.loss], { bind: bind() }),
      arrays: batchArrays(rows, length, most[at]!),
    };
    made.program.feed(graph.inputs.weight!, new Float32Array([1]));
    compiled.set(at, made);
    return made;
  };
  return {
    loss() {
      let nats = 0;
      for (const { micro } of chosen) {
        for (const { graph: at, rows } of micro) {
          const { graph, program, arrays } = compile(at);
          fillBatch(held, rows, plan.lengths[at]!, arrays);
          for (const [name, values] of Object.entries(valuesOf(arrays, false)))
            program.feed(graph.inputs[name]!, values);
          program.run();
          nats += program.read(graph.loss)[0]!;
        }
      }
      return nats / chosen.reduce((sum, { targets }) => sum + targets, 0);
    },
    [Symbol.dispose]() {
      for (const { program } of compiled.values()) program[Symbol.dispose]();
    },
  };
}

interface Start {
  readonly train: readonly Example[];
  readonly held: readonly Example[];
  readonly plan: Plan;
  readonly tokenizer: Tokenizer;
  readonly loss: number;
}

/** What is measured, and what it should be. */
function startLines({ name }: SftConfig, { train, held, plan, tokenizer, loss }: Start): string[] {
  const tokens = train.reduce((sum, { ids }) => sum + ids.length, 0);
  const targets = train.reduce((sum, { targets }) => sum + targets, 0);
  const ends = train.filter(({ ids, trained }) => trained.at(-1) === 1 && ids.at(-1) === tokenizer.endOfText).length;
  const uniform = Math.log(tokenizer.size);
  return [
    `${name}: ${train.length} examples in ${plan.stepsPerEpoch} steps an epoch, ${held.length} held out; ${targets} of ${tokens} tokens are trained (${((100 * targets) / tokens).toFixed(0)}%); end token trained: ${ends === train.length ? "yes" : `in ${ends} of ${train.length}`}`,
    `${name}: step 0: loss ${loss.toFixed(4)} a held-out answer token of the untouched model; it should be well below ${uniform.toFixed(2)}, that of guessing among ${tokenizer.size} tokens, for GPT-2 itself about 3 to 5`,
    `${name}: an example as the model sees it; only what stands between « and » is trained`,
    ...showExample(train[0]!, tokenizer, { colour: false, most: 600 })
      .split("\n")
      .map((line) => `  | ${line}`),
  ];
}

interface Writer {
  readonly engine: Engine;
  readonly tokenizer: Tokenizer;
  readonly template: ChatTemplate;
  readonly seed: number;
}

function writeSamples({ samples }: SftConfig, { engine, tokenizer, template, seed }: Writer): string[] {
  const options = sampling.parse({ temperature: samples.temperature, maxTokens: samples.tokens, seed });
  return samples.prompts.map((content) => {
    const ids: number[] = [];
    const ends = (_row: number, id: number) => id === tokenizer.endOfText;
    const prompt = template.prompt([{ role: "user", content }]);
    for (const [id] of engine.generate([prompt], { ...options, ends }))
      if (id !== null && id !== undefined) ids.push(id);
    const ended = ids.at(-1) === tokenizer.endOfText;
    const text = tokenizer.decode(ended ? ids.slice(0, -1) : ids).trim();
    return `  | ${content.trim()} -> ${text.replaceAll("\n", "\n  |   ")}${ended ? "" : " ..."}`;
  });
}
