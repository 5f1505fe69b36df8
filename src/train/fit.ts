/** The training loop. The only one. */
import { gradients } from "../autograd/gradients";
import { Program } from "../autograd/program";
import type { Scratch } from "../autograd/scratch";
import type { Device } from "../device/device";
import { UserError } from "../errors";
import { type Console, duration, short } from "../log/console";
import { openMetrics } from "../log/metrics";
import type { Parameters } from "../model/parameters";
import { bindAll, type Slab } from "../model/slab";
import { accumulate } from "../ops/add";
import { AdamW } from "../optim/adamw";
import { learningRate } from "../optim/schedule";
import { sizeOf } from "../tensor/shape";
import { input, type Tensor } from "../tensor/tensor";
import { type Progress, readIndex, resumeFrom, saveCheckpoint } from "./checkpoints";
import type { Training } from "./settings";
import type { Batch, Graph, Stage } from "./stage";

export interface Fit {
  readonly name: string;
  readonly device: Device;
  readonly settings: Training;
  /** The stage's folder: checkpoints, metrics, events. */
  readonly directory: string;
  readonly console: Console;
  /** Aborted by Ctrl-C: the step under way is finished and saved. */
  readonly signal: AbortSignal;
}

export interface Outcome {
  readonly reason: "finished" | "interrupted" | "stopped early";
  readonly progress: Progress;
}

/** Trains a stage from its latest checkpoint, if it has one, to its last step. Every step is a function of (seed, step). */
export async function fit(stage: Stage, { name, device, settings, directory, console, signal }: Fit): Promise<Outcome> {
  const { optim, evaluate, save, samples, logEvery, batch } = settings;
  using optimizer = new AdamW(device, stage.weights, optim);
  const index = readIndex(directory);
  let progress: Progress = index
    ? resumeFrom(directory, index, stage, optimizer)
    : { step: 0, bestLoss: null, bestStep: null, worse: 0, seconds: 0 };
  const { steps } = stage;
  if (index?.finished || progress.step >= steps) return { reason: "finished", progress };
  if (index) console.note(`${name}: resuming after step ${progress.step}`);

  using programs = programsOf(device, stage, optimizer);
  const metrics = openMetrics(directory, progress.step);
  const batches = stage.batches(progress.step);
  const clock = stopwatch(progress.seconds);
  const store = async (finished: boolean) =>
    saveCheckpoint(directory, stage, optimizer, { progress, keep: save.keep, finished });

  if (!index) for (const line of stage.start()) console.note(line);
  if (samples.before && !index) for (const sample of stage.samples()) console.note(sample);
  const first = progress.step;
  let speed: Speed = { steps: 0, tokens: 0 };
  for (let step = first; ; step++) {
    optimizer.zero();
    for (let micro = 0; micro < (stage.microBatches?.(step) ?? batch.accumulate); micro++) {
      programs.run((await batches.next()).value);
    }
    const rate = learningRate({ ...optim, kind: optim.schedule, steps }, step);
    optimizer.update(rate, step);
    await tick();

    const done = step + 1;
    if (done === first + 1) {
      // The first step also compiles the kernels, which says nothing about the speed.
      device.wait();
      clock.lap(done, stage.counts(done).num_tokens);
    }
    const last = done === steps || signal.aborted;
    const due = (every: number) => every > 0 && (done % every === 0 || (last && !signal.aborted));
    progress = { ...progress, step: done };
    if (due(logEvery) || due(evaluate.every) || due(save.every) || last) {
      const { norm, badStep, tail } = optimizer.read();
      if (badStep !== null) throw await badStepError(badStep, { stage, programs, optimizer, directory });
      progress = { ...progress, seconds: clock.seconds() };
      if (due(logEvery)) {
        const sums = Object.fromEntries(stage.names.map((name, i) => [name, tail[i]!]));
        const counts = stage.counts(done);
        if (done > first + 1) speed = clock.lap(done, counts.num_tokens);
        metrics.write(done, {
          ...sums,
          learning_rate: rate,
          grad_norm: norm,
          ...counts,
          tokens_per_second: speed.tokens,
        });
        console.status(statusLine(name, { done, steps, loss: tail[0]!, rate, norm, speed }));
      }
    }
    const trained = performance.now();
    let better = false;
    if (due(evaluate.every)) {
      const loss = stage.evaluate();
      better = progress.bestLoss === null || loss < progress.bestLoss;
      progress = better
        ? { ...progress, bestLoss: loss, bestStep: done, worse: 0 }
        : { ...progress, worse: progress.worse + 1 };
      metrics.write(done, { validation_loss: loss });
      console.note(`${name}  step ${done}/${steps}  validation loss ${loss.toFixed(4)}${better ? "  best" : ""}`);
    }
    if (due(samples.every)) for (const sample of stage.samples()) console.note(sample);
    const tired = evaluate.patience > 0 && progress.worse >= evaluate.patience;
    if (better || due(save.every) || last || tired) {
      await store((done === steps && !signal.aborted) || tired);
    }
    clock.leaveOut(trained);
    if (last || tired) {
      console.done();
      return { reason: tired ? "stopped early" : done === steps ? "finished" : "interrupted", progress };
    }
  }
}

/** The compiled graphs of a stage. */
interface Programs extends Disposable {
  run(batch: Batch): void;
}

function programsOf(device: Device, { graphs, scratch, weights, frozen }: Stage, optimizer: AdamW): Programs {
  const largestFirst = graphs.toReversed().map((graph) => {
    const program = trainingProgram(device, graph, { weights, frozen, optimizer, scratch });
    for (const [input, values] of Object.entries(graph.constants)) program.feed(graph.inputs[input]!, values);
    return program;
  });
  const programs = largestFirst.toReversed();
  return {
    run({ graph, values }) {
      const program = programs[graph]!;
      for (const [input, value] of Object.entries(values)) program.feed(graphs[graph]!.inputs[input]!, value);
      program.run();
    },
    [Symbol.dispose]() {
      for (const program of programs) program[Symbol.dispose]();
    },
  };
}

export interface Trained {
  readonly weights: Slab;
  readonly frozen?: readonly Slab[];
  readonly optimizer: AdamW;
  readonly scratch?: Scratch;
}

/** One micro-batch forward and backward: gradients and sums are added onto the optimizer's slab. */
export function trainingProgram(
  device: Device,
  graph: Pick<Graph, "loss" | "sums">,
  { weights, frozen = [], optimizer, scratch }: Trained,
): Program {
  const { outputs, slices, total } = trainingGraph(graph, weights.parameters);
  const bind = new Map([
    ...bindAll([weights, ...frozen]),
    ...optimizer.gradients.bind(slices),
    [total, { ...optimizer.tail, sizeBytes: 4 * sizeOf(total.shape) }] as const,
  ]);
  return new Program(device, outputs, { bind, ...(scratch && { scratch }) });
}

export interface TrainingGraph {
  readonly outputs: readonly Tensor[];
  /** What each parameter's gradient is added onto: to be bound to the gradient slab. */
  readonly slices: readonly Tensor[];
  /** What the sums are added onto. */
  readonly total: Tensor;
}

/** The graph of a micro-batch with its backward pass. */
export function trainingGraph({ loss, sums }: Pick<Graph, "loss" | "sums">, parameters: Parameters): TrainingGraph {
  const targets = parameters.list.map(({ tensor }) => tensor);
  const slices = targets.map(({ name, shape }) => input(`gradient of ${name}`, shape));
  const total = input("sums of the step", sums.shape);
  const updated = gradients(loss, targets, { into: new Map(targets.map((target, i) => [target, slices[i]!])) });
  return { outputs: [...updated.filter((grad) => grad !== null), accumulate(total, sums)], slices, total };
}

/** Lets signals and timers run between steps. */
function tick(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

interface Status {
  readonly done: number;
  readonly steps: number;
  readonly loss: number;
  readonly rate: number;
  readonly norm: number;
  readonly speed: Speed;
}

/** A second. */
interface Speed {
  readonly steps: number;
  readonly tokens: number;
}

function statusLine(name: string, { done, steps, loss, rate, norm, speed }: Status): string {
  const left = speed.steps > 0 ? `  ${short(speed.tokens)} tok/s  eta ${duration((steps - done) / speed.steps)}` : "";
  return `${name}  step ${done}/${steps}  loss ${loss.toFixed(4)}  lr ${rate.toExponential(2)}  norm ${norm.toFixed(2)}${left}`;
}

/** Seconds in all, and the speed between laps without the time spent on anything but training. */
function stopwatch(before: number) {
  const start = performance.now();
  let lapStart = start;
  let lapStep = 0;
  let lapTokens = 0;
  let besides = 0;
  return {
    seconds: () => before + (performance.now() - start) / 1000,
    /** Leaves out the time since `then`. */
    leaveOut(then: number) {
      besides += performance.now() - then;
    },
    lap(step: number, tokens: number): Speed {
      const now = performance.now();
      const seconds = (now - lapStart - besides) / 1000;
      const speed = { steps: (step - lapStep) / seconds, tokens: (tokens - lapTokens) / seconds };
      besides = 0;
      lapStep = step;
      lapTokens = tokens;
      lapStart = now;
      return speed;
    },
  };
}

interface Scene {
  readonly stage: Stage;
  readonly programs: Programs;
  readonly optimizer: AdamW;
  readonly directory: string;
}

/** Runs the bad step once more, on weights that it did not change, to say where it went wrong. */
async function badStepError(step: number, { stage, programs, optimizer, directory }: Scene): Promise<UserError> {
  const { value } = await stage.batches(step).next();
  optimizer.zero();
  programs.run(value);
  const loss = optimizer.read().tail[0]!;
  const gradient = optimizer.gradients.download();
  const { list } = stage.weights.parameters;
  const bad = list.filter(({ offset, size }) =>
    gradient.subarray(offset, offset + size).some((v) => !Number.isFinite(v)),
  );
  const where = bad.length
    ? `gradients of ${bad.length} of ${list.length} tensors are not finite, ${bad.at(-1)!.name} among them`
    : "";
  const cause = Number.isFinite(loss) ? where : `the loss is ${loss}${where && `; ${where}`}`;
  const saved = readIndex(directory);
  return new UserError(`step ${step + 1} is not finite: ${cause || "its gradients are too large"}`, {
    hint: `lower optim.lr or raise optim.warmup; ${saved ? `the last good checkpoint is ${directory}/${saved.latest}` : "no checkpoint was saved yet"}`,
  });
}
