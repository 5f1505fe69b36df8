/** The names inside a run's folder, which is what other programs and commands find a run's parts by. */

/** The resolved config. */
export const RUN_FILE = "run.json";
/** What a stage was made from, and whether it is finished. */
export const STAGE_FILE = "stage.json";
/** Which checkpoint is the latest, which the best. */
export const INDEX_FILE = "checkpoints.json";
/** In a checkpoint: how far it has come, and what else a resumed run must know. */
export const TRAINING_FILE = "training.json";
/** In a checkpoint: the optimizer's moments. */
export const OPTIMIZER_FILE = "optimizer.safetensors";
/** The tokenizer that was trained for the run. */
export const TOKENIZER_FOLDER = "tokenizer";
/** In its folder: how many bytes of text a token stands for. */
export const MEASURED_FILE = "measured.json";
/** The model that a run goes on from, where that was an adapter: merged. */
export const BASE_FOLDER = "base";
/** In a stage's folder: its adapter, merged, where another stage goes on from it. */
export const MERGED_FOLDER = "merged";
/** In a stage's folder: its result, where it trains nothing and has no checkpoints. */
export const MODEL_FOLDER = "model";
/** In a stage's folder: what it has measured, where it makes no model. */
export const RESULTS_FILE = "results.json";
export const LOCK_FILE = "lock";

/** What no stage may be called. */
export const reservedNames: readonly string[] = [TOKENIZER_FOLDER, BASE_FOLDER, LOCK_FILE, RUN_FILE];

/** Where a result is kept that another one took the place of. No stage's name has an @. */
export function keptAside(name: string, key: string): string {
  return `${name}@${key.slice(0, 8)}`;
}
