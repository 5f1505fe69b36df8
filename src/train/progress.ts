/** How far a stage has come, and how that is told: a status line, the speed, the time left. */
import { duration, short } from "../log/console";
import type { Evaluation } from "./stage";

/** Where a run stands after `step` finished steps. */
export interface Progress {
  readonly step: number;
  readonly best: Best | null;
  /** Evaluations since the best one. */
  readonly worse: number;
  /** The step after which held-out data were last measured. */
  readonly evaluated: number;
  /** Tokens that were read. */
  readonly tokens: number;
  /** Seconds of training, over all sittings. */
  readonly seconds: number;
  /** What the last sitting computed with: `arithmetic` of its device. Older checkpoints do not say. */
  readonly arithmetic?: string | undefined;
}

export interface Best extends Evaluation {
  readonly step: number;
}

export const beginning: Progress = { step: 0, best: null, worse: 0, evaluated: 0, tokens: 0, seconds: 0 };

/** `validation loss 0.4626`. */
export function told(values: Evaluation["values"]): string {
  return Object.entries(values)
    .map(([name, value]) => `${name.replaceAll("_", " ")} ${value.toFixed(4)}`)
    .join("  ");
}

export interface Status {
  readonly done: number;
  readonly steps: number;
  readonly loss: number;
  readonly rate: number;
  readonly norm: number;
  readonly speed: Speed;
}

/** A second. */
export interface Speed {
  readonly steps: number;
  readonly tokens: number;
}

export function statusLine(name: string, { done, steps, loss, rate, norm, speed }: Status): string {
  const left = speed.steps > 0 ? `  ${short(speed.tokens)} tok/s  eta ${duration((steps - done) / speed.steps)}` : "";
  return `${name}  step ${done}/${steps}  loss ${loss.toFixed(4)}  lr ${rate.toExponential(2)}  norm ${norm.toFixed(2)}${left}`;
}

/** Seconds in all, and the speed between laps without the time spent on anything but training. */
export function stopwatch({ seconds, step, tokens }: Pick<Progress, "seconds" | "step" | "tokens">) {
  const start = performance.now();
  let lapStart = start;
  let lapStep = step;
  let lapTokens = tokens;
  let besides = 0;
  return {
    seconds: () => seconds + (performance.now() - start) / 1000,
    /** Leaves out the time since `then`. */
    leaveOut(then: number) {
      besides += performance.now() - then;
    },
    lap({ step, tokens }: Pick<Progress, "step" | "tokens">): Speed {
      const now = performance.now();
      const seconds = (now - lapStart - besides) / 1000;
      const speed = { steps: (step - lapStep) / seconds, tokens: (tokens - lapTokens) / seconds };
      [lapStart, lapStep, lapTokens, besides] = [now, step, tokens, 0];
      return speed;
    },
  };
}
