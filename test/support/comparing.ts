/** Stages that compare answers, on the small model of test/golden/layouts/transformers, step by step. */
import type { Example } from "../../src/data/examples";
import type { PairExample } from "../../src/data/pairs";
import { loadModel, scalarOf } from "../../src/formats/checkpoint";
import { modelOf } from "../../src/model/model";
import { initialise } from "../../src/model/parameters";
import { Slab } from "../../src/model/slab";
import { Optimizer } from "../../src/optim/optimizer";
import { learningRate } from "../../src/optim/schedule";
import type { Built, Context } from "../../src/stages/context";
import { trainBpe } from "../../src/text/bpe";
import { builtIn } from "../../src/text/built-in";
import { chatTemplate } from "../../src/text/template";
import { tokenizerFrom } from "../../src/text/tokenizer";
import { programsOf } from "../../src/train/program";
import { alone } from "../../src/train/world";
import { silent } from "./console";
import { device } from "./device";

export const bytes = tokenizerFrom(trainBpe([], { size: 257 }));
export const template = chatTemplate(builtIn.chat!, bytes);

/** A context over the small model. `base`: so that adapters may name it. */
export async function smallContext(): Promise<Context & Disposable> {
  const { model, weights } = await loadModel(device(), "test/golden/layouts/transformers");
  return {
    device: device(),
    seed: 1,
    tokenizer: bytes,
    model,
    weights,
    base: "gpt2",
    console: silent,
    find: async (path) => path,
    locate: async () => null,
    directory: ".",
    signal: new AbortController().signal,
    open: async () => {
      throw new Error("no other model is read here");
    },
    [Symbol.dispose]: () => weights[Symbol.dispose](),
  };
}

/** The small model with a scalar head whose weights are `head(i)`. */
export async function scoredContext(head: (i: number) => number): Promise<Context & Disposable> {
  using plain = await smallContext();
  const model = modelOf(scalarOf(plain.model.config));
  const values = initialise(model.parameters, 1);
  for (const { name, offset, size } of model.parameters.list) {
    const from = plain.model.parameters.list.find((p) => p.name === name);
    values.set(from ? plain.weights.read(from) : Float32Array.from({ length: size }, (_, i) => head(i)), offset);
  }
  const weights = new Slab(device(), model.parameters, { values });
  return { ...plain, model, weights, [Symbol.dispose]: () => weights[Symbol.dispose]() };
}

/** A prompt's tokens and an answer's. */
export function example(prompt: readonly number[], answer: readonly number[], where = "a row"): Example {
  const ids = Uint32Array.from([...prompt, ...answer]);
  return { ids, trained: Uint8Array.from(ids, (_, i) => Number(i >= prompt.length)), targets: answer.length, where };
}

export function pairOf(
  prompt: readonly number[],
  chosen: readonly number[],
  rejected: readonly number[],
  margin: number | null = null,
): PairExample {
  return {
    chosen: example(prompt, chosen),
    rejected: example(prompt, rejected),
    margin,
    prompt: prompt.join(" "),
    where: "a row",
  };
}

export type Logged = Readonly<Record<string, number>>;

/** What a stage logs of its first steps, with `grad_norm`; linear schedule to 0 at `of` steps, clipping at 1. */
export async function trainedSteps(stage: Built, count: number, { lr = 1e-2, of = count } = {}): Promise<Logged[]> {
  const settings = { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0, clip: 1 };
  using optimizer = new Optimizer(device(), stage.trained, settings);
  using programs = programsOf(device(), stage, optimizer);
  const logged: Logged[] = [];
  for (let step = 0; step < count; step++) {
    optimizer.zero();
    for await (const batch of stage.step(step, alone)) programs.run(batch);
    const schedule = { kind: "linear", lr, steps: of, warmup: 0, floor: 0, decay: 0 } as const;
    optimizer.update(learningRate(schedule, step), step);
    const { norm, sums } = optimizer.read();
    logged.push({ ...Object.fromEntries(stage.names.map((name, i) => [name, sums[i]!])), grad_norm: norm });
  }
  return logged;
}
