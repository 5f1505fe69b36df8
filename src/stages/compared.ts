/** A stage over answers that are compared or judged, whatever its loss: what it is dealt, fed, measured on and told. */
import { Scratch } from "../autograd/scratch";
import { type Deal, type Dealt, dealOf } from "../data/deal";
import type { Device } from "../device/device";
import { expectFinite } from "../eval/perplexity";
import type { Model } from "../model/model";
import type { Slab } from "../model/slab";
import type { Tokenizer } from "../text/tokenizer";
import type { LoraConfig, Training } from "../train/settings";
import type { Batch, Evaluation, Stage } from "../train/stage";
import type { Share } from "../train/world";
import type { Built } from "./context";
import { type Feeding, measuredOn } from "./measured";
import type { Answering } from "./sampling";
import type { TrainedModel } from "./trained";

/** What the configs of all such stages have. */
export interface ComparedConfig {
  readonly name: string;
  readonly shuffle: boolean;
  readonly epochs: number;
  readonly recompute: boolean;
  readonly activations: "f32" | "bf16";
  readonly batch: { readonly rows: number; readonly accumulate: number };
  readonly optim: { readonly steps?: number | undefined };
  readonly evaluate: Training["evaluate"];
  readonly lora?: LoraConfig | undefined;
}

/** How items of one kind are learned from. */
export interface Method<T> {
  dealt(item: T): Dealt;
  /** Rows that a micro-batch has room for, as `dealt` counts them. */
  readonly rows: number;
  /** What goes together in a step is so in every epoch. */
  readonly fixed?: boolean;
  feeding(model: Model, options: FeedingOptions): Feeding<T>;
  /** Read beside what is trained. */
  readonly frozen?: readonly Slab[];
  /** Before a step's first micro-batch, with the items of the step; a step may be asked for again. Null: before an evaluation. */
  before?(step: number | null, items: readonly T[], scratch: Scratch): void;
  /** What else a resumed run must know, and what is saved beside the weights. */
  readonly state?: Stage["state"];
  write?(directory: string): void | Promise<void>;
  read?(directory: string): void;
  /** Of an evaluation: what is told of it, and how good it is. The loss, and its negative, if absent. */
  judged?(values: Readonly<Record<string, number>>): Evaluation;
}

export interface FeedingOptions {
  readonly length: number;
  readonly targets: number;
  readonly recompute?: boolean;
  readonly activations?: "f32" | "bf16";
}

export interface ComparedData<T> {
  readonly train: readonly T[];
  /** What is evaluated on; if there is none, the first line is measured on what is trained. */
  readonly held: readonly T[];
  readonly tokenizer: Tokenizer;
  readonly fingerprint: string;
}

export interface ComparedOptions<T> {
  readonly config: ComparedConfig;
  readonly device: Device;
  readonly seed: number;
  readonly data: ComparedData<T>;
  /** Tokens of a row at most. */
  readonly length: number;
  readonly trained: TrainedModel;
  readonly method: Method<T>;
  readonly shown: Answering;
  /** Made part of the run's fingerprints. */
  readonly fingerprints?: Readonly<Record<string, string>> | undefined;
  /** Lines before the first step: what was measured, on what, and the steps of an epoch. */
  start(found: Readonly<Record<string, number>>, stepsPerEpoch: number, measured: readonly T[]): readonly string[];
  /** Disposed of with the stage. */
  readonly owned?: readonly Disposable[];
}

export function comparedStage<T>({
  config,
  device,
  seed,
  data: { train, held, tokenizer, fingerprint },
  length,
  trained,
  method,
  shown,
  fingerprints = {},
  start,
  owned = [],
}: ComparedOptions<T>): Built {
  const { recompute, activations, optim, epochs, evaluate } = config;
  const { rows, frozen = [] } = method;
  const { model } = trained;
  const deal = dealFor(
    train.map((item) => method.dealt(item)),
    { config, method, length, seed },
  );
  const total = optim.steps ?? Math.max(1, Math.round(epochs * deal.stepsPerEpoch));
  const most = deal.mostTargets(total);
  const feedings = deal.lengths.map((length, i) =>
    method.feeding(model, { length, targets: most[i]!, recompute, activations }),
  );
  const scratch = new Scratch(device);
  const measured = measuredOn(device, {
    items: held.length > 0 ? held : train,
    dealt: (item: T) => method.dealt(item),
    feeding: (length, targets) => method.feeding(model, { length, targets }),
    slabs: [...trained.slabs, ...frozen],
    scratch,
    rows,
    tokens: length,
    batches: evaluate.batches,
    before: (all) => method.before?.(null, all, scratch),
  });
  const { judged = byLoss, state } = method;
  return {
    model,
    length,
    tokenizer,
    trained: [{ weights: trained.weights }],
    frozen: [...trained.frozen, ...frozen],
    graphs: feedings.map(({ graph }) => graph),
    scratch,
    names: feedings[0]!.names,
    fingerprints: { data: fingerprint, ...fingerprints },
    steps: total,
    round: 1,
    step: microBatches,
    async evaluate(signal) {
      const values = await measured.values(signal);
      if (!values) return null;
      expectFinite(values.loss!, "what is held out");
      return judged(values);
    },
    async start() {
      const found = (await measured.values())!;
      const lines = start(found, deal.stepsPerEpoch, measured.all);
      return { lines, held: held.length > 0 ? judged(found) : null };
    },
    samples: shown.answers,
    async write(directory) {
      await trained.write(directory, tokenizer);
      await method.write?.(directory);
    },
    read(directory) {
      trained.read(directory);
      method.read?.(directory);
    },
    ...(state && { state }),
    [Symbol.dispose]() {
      for (const one of [measured, shown, scratch, ...owned, trained]) one[Symbol.dispose]();
    },
  };

  async function* microBatches(step: number, { rank, size }: Share): AsyncGenerator<Batch> {
    const { micro } = deal.step(step);
    const batches = micro.map(({ rows }) => rows.flat().map((at) => train[at]!));
    const all = batches.flat();
    method.before?.(step, all, scratch);
    for (const [i, { graph, tokens }] of micro.entries()) {
      if (i % size !== rank) continue;
      yield {
        graph,
        values: feedings[graph]!.fill(batches[i]!, all),
        tokens,
        ...(i === 0 && { metrics: { epoch: (step + 1) / deal.stepsPerEpoch } }),
      };
    }
  }
}

export interface DealtFor {
  readonly config: Pick<ComparedConfig, "batch" | "shuffle">;
  readonly method: Pick<Method<never>, "rows" | "fixed">;
  readonly length: number;
  readonly seed: number;
}

/** How such a stage deals. */
export function dealFor(items: readonly Dealt[], { config, method, length, seed }: DealtFor): Deal {
  const { shuffle, batch } = config;
  const { rows, fixed = false } = method;
  return dealOf(items, { rows, tokens: length, accumulate: batch.accumulate, shuffle, fine: true, fixed, seed });
}

/** By the loss alone. */
export function byLoss({ loss }: Readonly<Record<string, number>>): Evaluation {
  return { values: { validation_loss: loss! }, score: -loss! };
}
