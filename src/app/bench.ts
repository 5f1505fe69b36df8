/** Measurements of devices: medians of several runs, each after a warm-up, and of several devices in turn. */
import type { Device } from "../device/device";
import { UserError } from "../errors";
import { tick } from "../tick";
import { type Case, cases, type Running } from "./bench-cases";
import { trainingStep } from "./training-step";

/** A figure, with one value for each device; undefined where a device cannot hold what is measured. */
export interface Measurement {
  readonly name: string;
  readonly unit: string;
  readonly values: readonly (number | undefined)[];
}

export interface BenchOptions {
  readonly profile: boolean;
  /** Replays of a training step, for the growth of memory. */
  readonly soak: number;
  /** A part of the name of what is to be measured. */
  readonly only?: string | undefined;
}

/**
 * Each case on every device, the devices in turn, so that what else the machine does falls on all alike. Throws a UserError where `only` is in
 * no name, and nothing else was asked for.
 */
export async function* benchmark(
  devices: readonly Device[],
  { profile, soak, only = "" }: BenchOptions,
): AsyncGenerator<Measurement> {
  const chosen = cases.filter(({ name }) => name.includes(only));
  if (chosen.length === 0 && soak === 0) {
    throw new UserError(`--only ${JSON.stringify(only)}: nothing that is measured has this in its name`, {
      hint: `names are such as ${JSON.stringify(cases[0]!.name)} and ${JSON.stringify(cases.at(-1)!.name)}; without --only all are measured`,
      exitCode: 2,
    });
  }
  for (const measured of chosen) {
    using running = openAll(devices, measured);
    yield { name: measured.name, unit: measured.unit, values: await medians(running.all) };
    if (profile) yield* profiles(running.all);
  }
  if (soak > 0) {
    yield {
      name: `memory growth over ${soak} training steps`,
      unit: "MiB",
      values: await Array.fromAsync(devices, (device) => soaked(device, soak)),
    };
  }
}

/** A case as it runs on each device. */
function openAll(devices: readonly Device[], { open }: Case): { all: readonly (Running | undefined)[] } & Disposable {
  const all = devices.map((device) => {
    try {
      return open(device);
    } catch (error) {
      if (!(error instanceof UserError)) throw error;
      return undefined;
    }
  });
  return {
    all,
    [Symbol.dispose]() {
      for (const running of all) running?.[Symbol.dispose]();
    },
  };
}

/** Compilers of kernels need about this long before a kernel runs at its full speed. */
const WARM_SECONDS = 0.7;
/** A sample is of at least this many seconds. */
const SAMPLE_SECONDS = 0.05;
const ROUNDS = 5;

async function medians(all: readonly (Running | undefined)[]): Promise<(number | undefined)[]> {
  for (const running of all) {
    for (let spent = 0; running && spent < WARM_SECONDS; ) {
      spent += running.seconds();
      await tick();
    }
  }
  const samples = all.map((): number[] => []);
  for (let round = 0; round < ROUNDS; round++) {
    for (const [i, running] of all.entries()) {
      if (!running) continue;
      let [total, runs] = [0, 0];
      for (; total < SAMPLE_SECONDS; runs++) total += running.seconds();
      samples[i]!.push(total / runs);
      await tick();
    }
  }
  return all.map((running, i) => running?.value(samples[i]!.sort((a, b) => a - b)[ROUNDS >> 1]!));
}

/** Where the time of one run goes, by kernel. */
function* profiles(all: readonly (Running | undefined)[]): Generator<Measurement> {
  const times = all.map((running) => new Map(running?.profile?.().map((time) => [time.kernel, time])));
  const kernels = new Map(
    times.flatMap((map) => [...map.values()].map(({ kernel, count }) => [kernel, count] as const)),
  );
  for (const [kernel, count] of kernels) {
    yield {
      name: `  ${kernel} (${count})`,
      unit: "ms",
      values: times.map((map) => (map.has(kernel) ? map.get(kernel)!.microseconds / 1000 : undefined)),
    };
  }
}

/** Resident memory after many replays of a small training step, against that after the first eighth, or 500, in MiB. */
async function soaked(device: Device, replays: number): Promise<number> {
  using step = trainingStep(device, { preset: "micro", rows: 1, length: 8, vocabulary: 64 });
  let before = 0;
  for (let i = 0; i < replays; i++) {
    if (i === Math.min(500, replays >> 3)) before = process.memoryUsage.rss();
    step.run();
    if (i % 100 === 0) await tick();
  }
  device.wait();
  return (process.memoryUsage.rss() - before) / 2 ** 20;
}
