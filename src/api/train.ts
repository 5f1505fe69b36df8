/** Training, for programs: the stages of a config, as `dawngrad run` makes them. */
import { join } from "node:path";
import type { z } from "zod";
import { besideOf } from "../app/beside";
import { type configSchema, runFolder } from "../app/config";
import { checkConfig, readConfigFile } from "../app/config-file";
import { runPipeline } from "../app/pipeline";
import { readStageFile } from "../app/stage-file";
import { openDevice } from "../device/open";
import { checked, reporter, type TrainOptions, trainSchema } from "./options";

/** What a config file says, as an object: docs/config.md lists its keys. */
export type TrainConfig = z.input<typeof configSchema>;

export interface TrainResult {
  /** `interrupted`: the signal was aborted, and what was trained is saved; the same call goes on from there. */
  readonly outcome: "finished" | "interrupted";
  /** The run's folder, which `open` takes. */
  readonly folder: string;
  readonly stages: readonly TrainedStage[];
}

export interface TrainedStage {
  readonly name: string;
  readonly kind: string;
  /** Its folder, which `open` takes where the stage makes a model. */
  readonly folder: string;
  readonly finished: boolean;
}

/**
 * Runs a config, or a config file, to its end. Called again, it goes on where it was, and makes again only what is no longer as it was. On a
 * device of its own. Throws a DawngradError where the config is wrong or a stage fails; what a callback throws ends it.
 */
export async function train(given: TrainConfig | string, options: TrainOptions = {}): Promise<TrainResult> {
  const how = checked(trainSchema, options);
  const { device: wanted, threads, vectors, signal = new AbortController().signal, onNote, onText = () => {} } = how;
  const config = typeof given === "string" ? await readConfigFile(given) : checkConfig(given);
  const folder = how.out ?? runFolder(config);
  const outcome = signal.aborted ? "interrupted" : await run();
  const stages = config.stage.map(({ name, kind }) => {
    const own = join(folder, name);
    return { name, kind, folder: own, finished: readStageFile(own)?.state === "finished" };
  });
  return { outcome, folder, stages };

  async function run() {
    const { from, only, fresh, keepGoing, onStep = () => {}, onEvaluation = () => {} } = how;
    using device = openDevice(wanted, { threads, vectors });
    return await runPipeline(config, {
      device,
      directory: folder,
      console: reporter(onNote),
      signal,
      write: onText,
      watch: { step: onStep, evaluation: onEvaluation },
      choice: { from, only, fresh, keepGoing },
      beside: typeof given === "string" ? besideOf(given) : undefined,
    });
  }
}
