/** metrics.jsonl: one object a line, the source of truth; and TensorBoard's event files from the same call. */
import { appendFileSync, existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { writeTextAside } from "../files";
import { openEvents } from "./tensorboard";

export interface Metrics {
  /** `step` counts finished steps. */
  write(step: number, values: Readonly<Record<string, number>>): void;
}

/** Opens both in a run's folder. Lines past `fromStep`, of a run that was cut off, are dropped: those steps come again. */
export function openMetrics(directory: string, fromStep: number): Metrics {
  const path = join(directory, "metrics.jsonl");
  keepUpTo(path, fromStep);
  const events = openEvents(directory);
  return {
    write(step, values) {
      appendFileSync(path, `${JSON.stringify({ step, ...values })}\n`);
      events.write(step, values);
    },
  };
}

/** What a stage's model said at evaluations, a line each, beside its metrics. */
export function openTold(directory: string, fromStep: number): (step: number, text: string) => void {
  const path = join(directory, "told.jsonl");
  keepUpTo(path, fromStep);
  return (step, text) => appendFileSync(path, `${JSON.stringify({ step, text: text.replace(/^ *\| /gm, "") })}\n`);
}

/** Drops the lines of a file whose `step` is past this one. */
export function keepUpTo(path: string, step: number): void {
  if (!existsSync(path)) return;
  const lines = readFileSync(path, "utf8").split("\n");
  const kept = lines.filter((line) => {
    try {
      return (JSON.parse(line) as { step: number }).step <= step;
    } catch {
      return false; // the last line of a killed run may be cut off
    }
  });
  writeTextAside(path, kept.map((line) => `${line}\n`).join(""));
}
