/**
 * Prefill and greedy decoding beside llama.cpp's: GPT-2 124M with random weights, which llama.cpp gets as GGUF files of our own export. Both
 * run on all cores, in one process and in turn; llama.cpp as it is by default, with its cache in F16. Its 700 MB are installed, and the files
 * written, into a temporary folder; a folder that is given as the argument is kept, and used again. --rounds: samples of each.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { openCpu } from "../src/device/cpu/cpu";
import { type GgufType, ggufTypes, writeGguf } from "../src/formats/gguf";
import { Engine } from "../src/generate/engine";
import { sampling } from "../src/generate/sampling";
import { presets } from "../src/model/architectures";
import { modelOf } from "../src/model/model";
import { initialise, type Parameter } from "../src/model/parameters";
import { Slab } from "../src/model/slab";
import { trainBpe } from "../src/text/bpe";
import { type Figures, inTurn, told } from "./in-turn";
import { greedy, openLlama } from "./node-llama-cpp";

interface Task {
  readonly name: string;
  readonly prompt: readonly number[];
  /** Written behind the prompt. */
  readonly tokens: number;
  /** Of the prompt or behind it: those that a figure counts. */
  readonly counted: number;
}

/** One of those that are measured: the tokens that it writes behind the prompt. */
interface Program {
  readonly name: string;
  readonly write: (task: Task) => number[] | Promise<number[]>;
}

const storages = ["f32", "bf16", "f16", "int8", "int4"] as const;
const config = { ...presets.gpt2!, vocabulary: 50257, epsilon: 1e-5 };
const words = (length: number) => Array.from({ length }, (_, i) => (i * 31) % config.vocabulary);
const tasks: readonly Task[] = [
  { name: "prefill of 256 tokens", prompt: words(256), tokens: 1, counted: 256 },
  { name: "greedy decoding of 64 tokens", prompt: words(3), tokens: 64, counted: 64 },
];

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { rounds: { type: "string", default: "5" } },
});
const rounds = Number(values.rounds);
if (!(Number.isInteger(rounds) && rounds > 0)) throw new Error("--rounds is a whole number from 1");
const given = positionals[0];
const folder = given === undefined ? mkdtempSync(join(tmpdir(), "dawngrad-llama-")) : resolve(given);
const threads = availableParallelism();
try {
  await compare();
} finally {
  if (given === undefined) rmSync(folder, { recursive: true, force: true });
}

async function compare(): Promise<void> {
  using device = openCpu(threads);
  using owned = new DisposableStack();
  const random = initialise(modelOf(config).parameters, 1);
  const ours = storages.map((storage): Program => {
    const model = modelOf(config, storage, storage === "int8" || storage === "int4" ? "int8" : "f32");
    const weights = owned.use(new Slab(device, model.parameters, { values: random }));
    const engine = owned.use(new Engine(device, model, [weights]));
    const write = ({ prompt, tokens }: Task) => {
      const columns = engine.generate([prompt], sampling.parse({ temperature: 0, maxTokens: tokens }));
      return [...columns].map(([id]) => id!);
    };
    return { name: storage, write };
  });
  const llama = await openLlama(folder);
  const theirs: Program[] = [];
  for (const type of ggufTypes) {
    const model = await llama.loadModel({ modelPath: writeFile(random, type) });
    const context = await model.createContext({ contextSize: 512, threads: { ideal: threads, min: threads } });
    const sequence = context.getSequence();
    const write = async ({ prompt, tokens }: Task) => {
      await sequence.clearHistory();
      return greedy(sequence, prompt, tokens);
    };
    theirs.push({ name: type.toUpperCase(), write });
  }
  console.log(`${device.info.name}; dawngrad: ${device.info.driver}; llama.cpp: ${threads} threads`);
  console.log(`Tokens/s: medians of ${rounds} samples in turn (least to most). A ratio above 1: dawngrad is faster.`);
  for (const task of tasks) {
    const programs = [...ours, ...theirs];
    await expectAlike(task, programs);
    const contestants = programs.map(({ name, write }) => ({ name, sample: () => sample(task, write) }));
    const figures = await inTurn(contestants, rounds);
    print(task, figures.slice(0, ours.length), figures.slice(ours.length));
  }
  await llama.dispose();
}

async function sample(task: Task, write: Program["write"]): Promise<number> {
  const start = performance.now();
  await write(task);
  return (1000 * task.counted) / (performance.now() - start);
}

/** All write as many tokens, and the same one first: else they are not the same model. */
async function expectAlike(task: Task, programs: readonly Program[]): Promise<void> {
  let first: number | undefined;
  for (const { name, write } of programs) {
    const ids = await write(task);
    first ??= ids[0];
    // In 4 bits it may well write another.
    if (ids.length !== task.tokens || (ids[0] !== first && name !== "int4"))
      throw new Error(`${task.name}: ${name} writes ${ids.join(" ")}, and ${programs[0]!.name} begins with ${first}`);
  }
}

/** The model as GGUF. A tokenizer is asked for, and has nothing to do: most of its tokens are padding. */
function writeFile(random: Float32Array, type: GgufType): string {
  const path = join(folder, `random-${type}.gguf`);
  const tokenizer = trainBpe(["the cat sat on the mat, the cat sat. "], { size: 270 });
  const values = ({ offset, size }: Parameter) => random.subarray(offset, offset + size);
  writeGguf(path, { name: "random", model: modelOf(config), tokenizer, values }, type);
  return path;
}

/** Every figure, then what each of ours is of each of theirs. */
function print({ name }: Task, ours: readonly Figures[], theirs: readonly Figures[]): void {
  const row = (head: string, figures: readonly Figures[], cell: (figures: Figures) => string) =>
    console.log(`  ${head.padEnd(24)}${figures.map((each) => cell(each).padEnd(30)).join("")}`.trimEnd());
  console.log(`\n${name}`);
  const named = (figures: Figures) => `${figures.name} ${told(figures)}`;
  row("llama.cpp", theirs, named);
  row("dawngrad", ours, named);
  for (const { name, median } of ours)
    row(`dawngrad ${name} to it`, theirs, (figures) => (median / figures.median).toFixed(3));
}
