/** The training loop. The only one. */
import { gradients } from "../autograd/gradients";
import { Program } from "../autograd/program";
import type { Device } from "../device/device";
import { UserError } from "../errors";
import { type Console, duration, short } from "../log/console";
import { openMetrics } from "../log/metrics";
import type { Parameters } from "../model/parameters";
import type { Slab } from "../model/slab";
import { accumulate } from "../ops/add";
import { AdamW } from "../optim/adamw";
import { learningRate } from "../optim/schedule";
import { input, type Tensor } from "../tensor/tensor";
import { type Progress, readIndex, resumeFrom, saveCheckpoint } from "./checkpoints";
import type { Training } from "./settings";
import type { Stage } from "./stage";

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
  if (index?.finished || progress.step >= optim.steps) return { reason: "finished", progress };
  if (index) console.note(`${name}: resuming after step ${progress.step}`);

  using program = trainingProgram(device, stage.loss, stage.weights, optimizer);
  for (const [input, values] of Object.entries(stage.constants)) program.feed(stage.inputs[input]!, values);
  const metrics = openMetrics(directory, progress.step);
  const batches = stage.batches(progress.step);
  const clock = stopwatch(progress.seconds);
  const store = async (finished: boolean) =>
    saveCheckpoint(directory, stage, optimizer, { progress, keep: save.keep, finished });

  if (samples.before && !index) for (const sample of stage.samples()) console.note(sample);
  const first = progress.step;
  let speed = 0;
  for (let step = first; ; step++) {
    optimizer.zero();
    for (let micro = 0; micro < batch.accumulate; micro++) {
      const { value } = await batches.next();
      for (const [input, values] of Object.entries(value)) program.feed(stage.inputs[input]!, values as Float32Array);
      program.run();
    }
    const rate = learningRate({ kind: optim.schedule, ...optim }, step);
    optimizer.update(rate, step);
    await tick();

    const done = step + 1;
    if (done === first + 1) {
      // The first step also compiles the kernels, which says nothing about the speed.
      device.wait();
      clock.lap(done);
    }
    const last = done === optim.steps || signal.aborted;
    const due = (every: number) => every > 0 && (done % every === 0 || (last && !signal.aborted));
    progress = { ...progress, step: done };
    if (due(logEvery) || due(evaluate.every) || due(save.every) || last) {
      const { norm, badStep, tail } = optimizer.read();
      if (badStep !== null) throw await badStepError(badStep, { stage, program, optimizer, directory });
      progress = { ...progress, seconds: clock.seconds() };
      if (due(logEvery)) {
        const loss = tail[0]!;
        if (done > first + 1) speed = clock.lap(done) * stage.tokensPerStep;
        metrics.write(done, { loss, lr: rate, grad_norm: norm, tokens_per_second: speed });
        console.status(
          statusLine(name, { done, steps: optim.steps, loss, rate, norm, speed, tokens: stage.tokensPerStep }),
        );
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
      console.note(`${name}  step ${done}/${optim.steps}  validation loss ${loss.toFixed(4)}${better ? "  best" : ""}`);
    }
    if (due(samples.every)) for (const sample of stage.samples()) console.note(sample);
    const tired = evaluate.patience > 0 && progress.worse >= evaluate.patience;
    if (better || due(save.every) || last || tired) {
      await store((done === optim.steps && !signal.aborted) || tired);
    }
    clock.leaveOut(trained);
    if (last || tired) {
      console.done();
      return { reason: tired ? "stopped early" : done === optim.steps ? "finished" : "interrupted", progress };
    }
  }
}

/** One micro-batch forward and backward: gradients and loss are added onto the optimizer's slab. */
export function trainingProgram(device: Device, loss: Tensor, weights: Slab, optimizer: AdamW): Program {
  const { outputs, slices, total } = trainingGraph(loss, weights.parameters);
  const bind = new Map([
    ...weights.bind(),
    ...optimizer.gradients.bind(slices),
    [total, { ...optimizer.tail, sizeBytes: 4 }] as const,
  ]);
  return new Program(device, outputs, { bind });
}

export interface TrainingGraph {
  readonly outputs: readonly Tensor[];
  /** What each parameter's gradient is added onto: to be bound to the gradient slab. */
  readonly slices: readonly Tensor[];
  /** [1]: what the loss is added onto. */
  readonly total: Tensor;
}

/** The graph of a micro-batch with its backward pass. */
export function trainingGraph(loss: Tensor, parameters: Parameters): TrainingGraph {
  const targets = parameters.list.map(({ tensor }) => tensor);
  const slices = targets.map(({ name, shape }) => input(`gradient of ${name}`, shape));
  const total = input("loss of the step", [1]);
  const updated = gradients(loss, targets, { into: new Map(targets.map((target, i) => [target, slices[i]!])) });
  return { outputs: [...updated.filter((grad) => grad !== null), accumulate(total, loss)], slices, total };
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
  readonly speed: number;
  readonly tokens: number;
}

function statusLine(name: string, { done, steps, loss, rate, norm, speed, tokens }: Status): string {
  const left = duration(((steps - done) * tokens) / speed);
  return `${name}  step ${done}/${steps}  loss ${loss.toFixed(4)}  lr ${rate.toExponential(2)}  norm ${norm.toFixed(2)}  ${short(speed)} tok/s  eta ${left}`;
}

/** Seconds in all, and steps a second between laps without the time spent on anything but training. */
function stopwatch(before: number) {
  const start = performance.now();
  let lapStart = start;
  let lapStep = 0;
  let besides = 0;
  return {
    seconds: () => before + (performance.now() - start) / 1000,
    /** Leaves out the time since `then`. */
    leaveOut(then: number) {
      besides += performance.now() - then;
    },
    lap(step: number): number {
      const now = performance.now();
      const rate = (1000 * (step - lapStep)) / (now - lapStart - besides);
      besides = 0;
      lapStep = step;
      lapStart = now;
      return rate;
    },
  };
}

interface Scene {
  readonly stage: Stage;
  readonly program: Program;
  readonly optimizer: AdamW;
  readonly directory: string;
}

/** Runs the bad step once more, on weights that it did not change, to say where it went wrong. */
async function badStepError(step: number, { stage, program, optimizer, directory }: Scene): Promise<UserError> {
  const batches = stage.batches(step);
  const { value } = await batches.next();
  for (const [input, values] of Object.entries(value)) program.feed(stage.inputs[input]!, values as Float32Array);
  optimizer.zero();
  program.run();
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
