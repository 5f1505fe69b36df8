/** What a kind of stage must say. A pipeline knows stages by nothing else. */
import type { z } from "zod";
import type { Device } from "../device/device";
import type { Reporter } from "../log/console";
import type { ModelConfig } from "../model/architecture";
import type { Model } from "../model/model";
import type { Storage } from "../model/parameters";
import type { Slab } from "../model/slab";
import type { Tokenizer } from "../text/tokenizer";
import type { Watch } from "../train/watch";
import type { MemoryOptions } from "./memory";

export interface Kind<C> {
  readonly schema: z.ZodObject;
  /** Raised by hand when results change their meaning: what was made before is then made again. */
  readonly version: number;
  /** Its result is a reward model. */
  readonly scored?: boolean;
  /** It only measures: it makes no model, and its result is its file of results. */
  readonly measures?: boolean;
  /** The models that it reads, by key: earlier stages, paths, Hub names. `from` stands for itself where it may be left out. */
  reads(config: C): Readonly<Record<string, string | undefined>>;
  /** The files that its result depends on. */
  data(config: C): readonly string[];
  /** Throws a UserError where it would fail for its settings or for the sizes of what it reads: no device, no data. */
  check(config: C, planned: Planned): void;
  /** What it would do with a model of these sizes: no device, no data. */
  outline(config: C, model: ModelConfig): Outline;
  /** The sizes of what it makes, where they are not those of the first model that it reads. */
  result?(config: C, model: ModelConfig): ModelConfig;
  /**
   * For a stage that was trained for `step` steps by a config with other values of these keys: undefined where more than its length is
   * another; null where the steps so far would have been the same, so that it may go on; else why they would not.
   */
  otherPast?(config: C, changed: ReadonlyMap<string, Change>, step: number): string | null | undefined;
  run(config: C, context: RunContext): Promise<"finished" | "interrupted">;
}

/** As JSON; undefined where a key was not given and has no default. */
export interface Change {
  readonly was: string | undefined;
  readonly is: string | undefined;
}

/** What is known of the models that a stage reads before any is made. */
export interface Planned {
  /** By the keys of `reads`. */
  readonly models: ReadonlyMap<string, ModelConfig>;
  /** It begins with a new model. */
  readonly fresh: boolean;
}

export interface Outline {
  /** For people, a line each. */
  readonly lines: readonly string[];
  /** What is trained, and in what batches: what its memory follows from. Null where nothing is. */
  readonly trained: { readonly model: Model; readonly batch: MemoryOptions } | null;
}

/** What a stage is run with. Models are opened from disk, each for whom asks. */
export interface RunContext {
  readonly device: Device;
  readonly seed: number;
  readonly console: Reporter;
  readonly signal: AbortSignal;
  readonly hold?: (() => Disposable) | undefined;
  readonly watch?: Watch | undefined;
  /** The stage's folder. */
  readonly directory: string;
  /** It is begun anew: nothing is taken from what it has made before. */
  readonly fresh: boolean;
  /** Where a data file is: on disk, inside the executable, or fetched by name. */
  find(path: string): Promise<string>;
  /** A whole model that the stage reads, by the key of `reads`; adapters are merged into it. */
  open(key: string, as?: OpenAs): Promise<Source>;
  /** Where such a model's files are; null for a new one. */
  locate(key: string): Promise<string | null>;
  /** What such a model is called: by its stage, or as the config names it. */
  nameOf(key: string): string;
  /** Another one as soon as a bit of a file is another. */
  hashOfFile(path: string): Promise<string>;
  /** The same of a model's weights, sizes and tokenizer in a folder. */
  hashOfModel(directory: string): Promise<string>;
}

export interface OpenAs {
  /** f32 if absent; auto: as its files have it. */
  readonly storage?: Storage | "auto" | undefined;
  /** With a scalar head: a fresh one where it has none. */
  readonly scored?: boolean | undefined;
}

export interface Source extends Disposable {
  readonly model: Model;
  readonly weights: Slab;
  readonly tokenizer: Tokenizer;
  /** Where it is from, for adapters to name: a path, or a name on the Hub. Null where it was never saved. */
  readonly base: string | null;
}
