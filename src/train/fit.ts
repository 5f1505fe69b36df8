/** The training loop. The only one. */
import type { Device } from "../device/device";
import { UserError } from "../errors";
import type { Reporter } from "../log/console";
import { openMetrics, openTold } from "../log/metrics";
import { Optimizer } from "../optim/optimizer";
import { learningRate } from "../optim/schedule";
import { tick } from "../tick";
import { saveCheckpoint, tidy } from "./checkpoints";
import { badStepError } from "./diagnosis";
import { programsOf } from "./program";
import { beginning, type Progress, type Speed, statusLine, stopwatch, told } from "./progress";
import { resume } from "./resume";
import type { Training } from "./settings";
import type { Batch, Stage } from "./stage";
import type { Watch } from "./watch";
import { alone, type World } from "./world";

export interface Fit {
  readonly name: string;
  readonly device: Device;
  readonly settings: Training;
  /** The stage's folder: checkpoints, metrics, events. */
  readonly directory: string;
  readonly console: Reporter;
  /** Aborted by Ctrl-C: the step under way is finished and saved. */
  readonly signal: AbortSignal;
  /** Called when there is something to save: from then on signals abort `signal`, and do not end the program at once. */
  readonly hold?: (() => Disposable) | undefined;
  readonly watch?: Watch | undefined;
  readonly world?: World;
}

export interface Outcome {
  readonly reason: "finished" | "interrupted" | "stopped early";
  readonly progress: Progress;
}

/** Trains a stage from its latest checkpoint, if it has one, to its last step. Every step is a function of (seed, step). */
export async function fit(
  stage: Stage,
  { name, device, settings, directory, console, signal, hold, watch, world = alone }: Fit,
): Promise<Outcome> {
  const { optim, evaluate, save, samples, logEvery } = settings;
  const { steps } = stage;
  using optimizer = new Optimizer(device, stage.trained, optim);
  const resumed = resume(directory, stage, optimizer, (line) => console.note(`${name}: ${line}`));
  const { arithmetic } = device.info;
  let progress: Progress = { ...(resumed?.progress ?? beginning), arithmetic };
  const exhausted = () => evaluate.patience > 0 && progress.worse >= evaluate.patience;
  if (resumed) tidy(directory, settings.save.keep);
  // With more steps than it was finished by, it goes on.
  if (resumed?.finished && (progress.step === steps || exhausted())) return { reason: "finished", progress };
  if (resumed) console.note(`${name}: resuming after step ${progress.step}`);
  const earlier = resumed?.progress.arithmetic;
  if (earlier !== undefined && earlier !== arithmetic)
    console.note(`${name}: trained by ${earlier} so far, going on by ${arithmetic}: last digits may differ`);

  using programs = programsOf(device, stage, optimizer);
  // What a run that was killed before its first checkpoint has said of step 0 comes again.
  const from = resumed ? progress.step : -1;
  const metrics = openMetrics(directory, from);
  const keep = openTold(directory, from);
  const clock = stopwatch(progress);
  // Between a round's steps a stage without state cannot be saved.
  const span = stage.state ? 1 : stage.round;
  const due = (every: number) => {
    const { step } = progress;
    const before = Math.max(0, step - (step % span || span));
    return every > 0 && (step === steps || Math.floor(step / every) > Math.floor(before / every));
  };

  if (!resumed) {
    const { lines, held } = await stage.start();
    for (const line of lines) console.note(line);
    if (held) {
      metrics.write(0, held.values);
      watch?.evaluation({ stage: name, step: 0, steps, metrics: held.values, best: false });
    }
    if (samples.before) await tell();
  }
  using _held = hold?.();
  const first = progress.step;
  // What was due when the run was stopped is done before anything else.
  let owed = first > 0 && due(evaluate.every) && progress.evaluated < first;
  let speed: Speed = { steps: 0, tokens: 0 };
  for (; ; owed = false) {
    if (!owed && progress.step < steps) await trainStep();
    const last = progress.step === steps;
    const between = progress.step % span === 0 || last;
    if (signal.aborted && between) {
      await store(false);
      return over("interrupted");
    }
    const trained = performance.now();
    const better = between && due(evaluate.every) && (await measure());
    if (between && due(samples.every)) await tell();
    const missed = due(evaluate.every) && progress.evaluated < progress.step;
    const tired = exhausted();
    const finished = (last && !missed) || tired;
    if (between && (better || due(save.every) || finished || signal.aborted)) await store(finished);
    clock.leaveOut(trained);
    if (finished) return over(tired ? "stopped early" : "finished");
    if (signal.aborted && between) return over("interrupted");
  }

  async function trainStep(): Promise<void> {
    const { step } = progress;
    const host: Record<string, number> = {};
    let tokens = 0;
    optimizer.zero();
    for await (const batch of kept(stage.step(step, world))) {
      if (tokens > 0) {
        await tick();
        // A step that is not finished has changed nothing, and is made anew when the run goes on.
        if (signal.aborted && step % span === 0) return;
      }
      programs.run(batch);
      tokens += batch.tokens;
      for (const [key, value] of Object.entries(batch.metrics ?? {})) host[key] = (host[key] ?? 0) + value;
    }
    // Nothing was given: what had to be found first was cut off, and changed nothing.
    if (tokens === 0 && signal.aborted) return;
    const rate = learningRate({ ...optim, kind: optim.schedule, steps }, step);
    await world.sum(optimizer.gradients);
    optimizer.measure(rate, step);
    optimizer.apply();
    await world.gather(stage.trained.map(({ weights }) => weights));
    await tick();
    progress = { ...progress, step: step + 1, tokens: progress.tokens + tokens };
    if (progress.step === first + 1) {
      // The first step also compiles the kernels, which says nothing about the speed.
      device.wait();
      clock.lap(progress);
    }
    const { step: done } = progress;
    const logged = done % logEvery === 0 || done === steps;
    if (!logged && !due(evaluate.every) && !due(save.every) && !signal.aborted) return;
    const { norm, badStep, sums } = optimizer.read();
    if (badStep !== null) throw await badStepError(badStep, { stage, programs, optimizer, directory, share: world });
    progress = { ...progress, seconds: clock.seconds() };
    if (!logged) return;
    if (done > first + 1) speed = clock.lap(progress);
    const values = {
      ...Object.fromEntries(stage.names.map((name, i) => [name, sums[i]!])),
      learning_rate: rate,
      grad_norm: norm,
      num_tokens: progress.tokens,
      ...host,
      tokens_per_second: speed.tokens,
    };
    metrics.write(done, values);
    watch?.step({ stage: name, step: done, steps, metrics: values });
    console.status(statusLine(name, { done, steps, loss: sums[0]!, rate, norm, speed }));
  }

  /** What cannot be made of a step for a mistake of the user's, such as a reward that fails, ends the run; what was trained is saved. */
  async function* kept(batches: AsyncIterable<Batch>): AsyncGenerator<Batch> {
    try {
      yield* batches;
    } catch (error) {
      const saved = error instanceof UserError && progress.step > first && progress.step % span === 0;
      if (saved) {
        await store(false);
        console.note(`${name}: what was trained is saved after step ${progress.step}`);
      }
      throw error;
    }
  }

  async function tell(): Promise<void> {
    for await (const sample of stage.samples(signal)) {
      console.note(sample);
      keep(progress.step, sample);
    }
  }

  /** Whether the weights are the best so far. An evaluation that was interrupted stays owed. */
  async function measure(): Promise<boolean> {
    const found = await stage.evaluate(signal);
    if (!found) return false;
    const { step } = progress;
    const better = progress.best === null || found.score > progress.best.score;
    progress = { ...progress, evaluated: step, worse: better ? 0 : progress.worse + 1 };
    if (better) progress = { ...progress, best: { ...found, step } };
    metrics.write(step, found.values);
    watch?.evaluation({ stage: name, step, steps, metrics: found.values, best: better });
    console.note(`${name}  step ${step}/${steps}  ${told(found.values)}${better ? "  best" : ""}`);
    return better;
  }

  function store(finished: boolean): Promise<void> {
    return saveCheckpoint(directory, stage, optimizer, { progress, keep: save.keep, finished });
  }

  function over(reason: Outcome["reason"]): Outcome {
    console.done();
    return { reason, progress };
  }
}
