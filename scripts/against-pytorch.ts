/**
 * Training steps beside PyTorch's: the shapes of `bench`, forward, backward and AdamW with clipping in float32, as its users would tune it
 * (against-pytorch.py), micro compiled too. Both run on all cores and in turn, never at the same time.
 * Arguments: names of shapes (micro tiny gpt2), --python, --rounds, --seconds of a sample.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { parseArgs } from "node:util";
import { trainings } from "../src/app/bench-cases";
import { type TrainingSize, trainingStep } from "../src/app/training-step";
import { openCpu } from "../src/device/cpu/cpu";
import { presets } from "../src/model/architectures";
import { modelOf } from "../src/model/model";
import { type Contestant, inTurn, tokensPerSecond, told } from "./in-turn";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    python: { type: "string", default: "python3" },
    rounds: { type: "string", default: "5" },
    seconds: { type: "string", default: "1" },
  },
});
const [rounds, seconds] = [Number(values.rounds), Number(values.seconds)];
const sizes = trainings.filter(({ adapterOn }) => adapterOn === undefined);
const unknown = positionals.find((name) => !sizes.some(({ preset }) => preset === name));
if (unknown !== undefined) throw new Error(`${unknown} is none of ${sizes.map(({ preset }) => preset).join(", ")}`);
if (!(Number.isInteger(rounds) && rounds > 0)) throw new Error("--rounds is a whole number from 1");
if (!(seconds >= 0)) throw new Error("--seconds is a number from 0");

const threads = availableParallelism();
using device = openCpu(threads);
console.log(`${device.info.name}; dawngrad: ${device.info.driver}`);
console.log(
  `Tokens/s of training steps: medians of ${rounds} samples in turn (least to most). A ratio above 1: dawngrad is faster.`,
);
for (const size of sizes) if (positionals.length === 0 || positionals.includes(size.preset)) await compare(size);

async function compare(size: TrainingSize): Promise<void> {
  const { preset, rows, length, vocabulary } = size;
  console.log(`\n${preset}, ${rows} x ${length}, vocabulary ${vocabulary}`);
  await using eager = await openPyTorch(size, false);
  await using compiled = preset === "micro" ? await openPyTorch(size, true) : undefined;
  using step = trainingStep(device, size);
  const run = () => {
    step.run();
    device.wait();
  };
  const ours = { name: "dawngrad", sample: () => tokensPerSecond(run, rows * length, seconds) };
  const theirs = [eager, compiled].filter((program) => program !== undefined);
  const [mine, ...others] = await inTurn([ours, ...theirs], rounds);
  const line = (name: string, ...rest: string[]) => console.log(`  ${name.padEnd(32)}${rest.join("")}`);
  line(mine!.name, told(mine!));
  for (const figures of others)
    line(figures.name, told(figures).padEnd(30), `dawngrad to it ${(mine!.median / figures.median).toFixed(3)}`);
}

/** A PyTorch process that waits to be asked; undefined, with a sentence, where it cannot compile. */
async function openPyTorch(
  { preset, rows, length, vocabulary }: TrainingSize,
  compiled: boolean,
): Promise<(Contestant & AsyncDisposable) | undefined> {
  const config = { ...presets[preset]!, vocabulary, epsilon: 1e-5 };
  // Memory that is freed stays the process's own: else the system clears every page of every large array again in each step.
  const kept = String(2 ** 32);
  const environment = {
    OMP_NUM_THREADS: String(threads),
    OMP_PROC_BIND: "true",
    MALLOC_MMAP_THRESHOLD_: kept,
    MALLOC_TRIM_THRESHOLD_: kept,
  };
  const settings = JSON.stringify({ ...config, rows, length, seconds, compiled });
  const child = spawn(values.python, [join(import.meta.dir, "against-pytorch.py"), settings], {
    env: { ...process.env, ...environment },
    stdio: ["pipe", "pipe", "inherit"],
  });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const exited = once(child, "exit");
  const answer = async (): Promise<unknown> => {
    const { value, done } = await lines.next();
    if (done) throw new Error(`${values.python} has ended: it needs PyTorch, and says above what is wrong`);
    return JSON.parse(value);
  };
  await once(child, "spawn");
  const hello = (await answer()) as Hello;
  if ("cannot" in hello) {
    console.log(`  torch.compile is left out: ${hello.cannot}`);
    return undefined;
  }
  const count = modelOf(config).parameters.count;
  if (hello.parameters !== count) throw new Error(`PyTorch's model has ${hello.parameters} parameters, ours ${count}`);
  if (hello.threads !== threads) throw new Error(`PyTorch runs ${hello.threads} threads, ours ${threads}`);
  return {
    name: `PyTorch ${hello.version}${compiled ? ", compiled" : ""}`,
    async sample() {
      child.stdin.write("\n");
      return (await answer()) as number;
    },
    async [Symbol.asyncDispose]() {
      child.stdin.end();
      await exited;
    },
  };
}

type Hello =
  | { readonly cannot: string }
  | { readonly version: string; readonly threads: number; readonly parameters: number };
