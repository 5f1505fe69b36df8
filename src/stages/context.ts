/** What a stage is built from, and what it gives beside its training: a stage knows neither configs of others nor folders of runs. */

import type { Device } from "../device/device";
import type { Reporter } from "../log/console";
import type { Model } from "../model/model";
import type { Slab } from "../model/slab";
import type { Tokenizer } from "../text/tokenizer";
import type { Stage } from "../train/stage";
import type { RunContext } from "./kind";

export interface Context {
  readonly device: Device;
  readonly seed: number;
  readonly tokenizer: Tokenizer;
  readonly model: Model;
  readonly weights: Slab;
  /** Where `weights` are from, for adapters to name: a path, or a name on the Hub. Null where they were never saved. */
  readonly base: string | null;
  readonly console: Reporter;
  /** Where a data file is: on disk, inside the executable, or fetched by name. */
  find(path: string): Promise<string>;
  /** Another model that the stage reads, such as a reference or a teacher, by its key in `reads`. */
  open: RunContext["open"];
  /** Where such a model's files are; null for a new one. */
  locate: RunContext["locate"];
  /** The stage's folder. */
  readonly directory: string;
  /** Aborted by Ctrl-C. */
  readonly signal: AbortSignal;
}

export interface Built extends Stage, Disposable {
  /** The model with what is trained in it. */
  readonly model: Model;
  /** Tokens of its longest rows. */
  readonly length: number;
  /** The tokenizer that goes with what was trained, its chat template included. */
  readonly tokenizer: Tokenizer;
}
